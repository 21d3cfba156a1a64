"""What every screen over a run has in common: it is shown the view once a frame, in panes between bars.

To add one:
1. a pure function `arrange_x(body, …, compact=…)` in `layout/x.py` that gives each pane a `Rect` of the body;
2. a subclass in `screens/x.py` that says its `PAGE` and `QUICK`, makes its widgets in `make_panes` (framed,
   focusable, maximised with `m`) and `make_bars` (lines without a frame), and calls that function in `place`;
3. an entry in `pages.PAGES`, which gives it its key, its tab, and its place in help and palette;
4. its id in `Action.pages` of the actions that it has, and a method `action_<id>` for each (`up`, `sort`, …).
Status, transport, keys, maximising, scrolling, freezing, filter and plain list come from here (`FILTERS` says
what is searched; `self.filter` is what was typed; `counted` how many rows pass). A pane is one
widget with a `sync(view)` that draws all its lines (`Rows`, `ScrollRows`, `RowPane`): nothing is mounted for
a sample, token or line. `self.view` is what is shown; after changing it call `self.redraw()`. `say`, `copy`
and `open` ask the app to say something, fill the clipboard, and go to another page (`esc` comes back).
"""

from collections.abc import Hashable
from typing import ClassVar, Protocol, runtime_checkable

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget

from atts_tui.actions import KeyMap
from atts_tui.layout.frame import Frame, Rect, alone, frame
from atts_tui.view import View
from atts_tui.widgets.caption_bar import CaptionBar
from atts_tui.widgets.filter_bar import FilterBar
from atts_tui.widgets.key_bar import KeyBar
from atts_tui.widgets.plain_view import PlainView
from atts_tui.widgets.scroll_rows import ScrollRows
from atts_tui.widgets.status_bar import StatusBar
from atts_tui.widgets.transport_bar import TransportBar


@runtime_checkable
class Synced(Protocol):
    """A widget that is shown the view."""

    def sync(self, view: View) -> None:
        """Show the view."""
        ...


class RunScreen(Screen[None]):
    """A screen that draws a `View`. The app calls `sync` from its one frame clock and nowhere else."""

    DEFAULT_CSS = """
    RunScreen { layout: vertical; overflow: hidden; background: $background; }
    RunScreen > .pane { position: absolute; }
    """

    BLANK = True  # nothing is drawn behind the panes

    PAGE: ClassVar[str]
    """Its id in `pages.PAGES`."""
    QUICK: ClassVar[frozenset[str]] = frozenset()
    """Panes drawn each frame; the others hold what nobody reads that often, and are drawn thrice a second."""

    FILTERS: ClassVar[str] = ""
    """What a filter searches, such as `problem or answer`; empty where there is none."""

    def __init__(self, keymap: KeyMap, *, replay: bool) -> None:
        super().__init__()
        bound = keymap.actions_of(self.PAGE, replay=replay)
        self.view: View | None = None
        self.maximised: str | None = None
        self._arranged: Hashable = None
        self._frame: Frame | None = None
        self._rects: dict[str, Rect] = {}
        self.panes: dict[str, Widget] = self.make_panes()
        chrome: dict[str, Widget] = {
            "status": self.make_status(),
            "caption": CaptionBar(id="caption"),
            "transport": TransportBar(id="transport"),
            "keys": KeyBar(self.PAGE, bound, id="keys"),
        }
        self._filtering = False
        self.filter = ""
        """Rows that do not hold this are left out."""
        self._filter_bar: FilterBar | None = None
        if self.FILTERS:
            chrome["filter"] = self._filter_bar = FilterBar(self.FILTERS, id="filter")
        self._widgets: dict[str, Widget] = {**chrome, **self.make_bars(), **self.panes}
        self._quick = self.QUICK | {"transport", "caption"}
        self._plain = self.make_plain()
        for widget in (*self._widgets.values(), self._plain):
            widget.add_class("pane")
        for widget in self.panes.values():
            widget.add_class("framed")
        for action, keys, _ in bound:
            for key in keys:
                said = action.label or action.help
                # In place of what Textual's own screens have on that key.
                self._bindings.key_to_bindings[key] = [Binding(key, action.call, said, show=False)]

    # What a screen says of itself.

    def make_panes(self) -> dict[str, Widget]:
        """The framed panes by name, the one that has the focus first; each has a `sync(view)`."""
        raise NotImplementedError

    def make_bars(self) -> dict[str, Widget]:
        """Lines without a frame, by name."""
        return {}

    def make_status(self) -> Widget:
        """The line or two at the top."""
        return StatusBar(self.PAGE, id="status")

    def make_plain(self) -> Widget:
        """What a terminal too small for panes shows."""
        return PlainView(id="plain")

    def place(self, view: View, body: Rect, *, compact: bool) -> dict[str, Rect]:
        """Where panes and bars go; those left out are not shown."""
        raise NotImplementedError

    def depends(self, _view: View) -> Hashable:
        """What the arrangement depends on besides the size."""
        return None

    def counted(self, _view: View) -> tuple[int, int]:
        """How many rows pass the filter, of how many."""
        return 0, 0

    def placed(self, _view: View, _rects: dict[str, Rect]) -> None:
        """Called after the panes were laid out anew."""

    # What all of them do.

    def compose(self) -> ComposeResult:
        """One widget a pane, however much is in it."""
        yield from self._widgets.values()
        yield self._plain

    def on_mount(self) -> None:
        """The first pane has the focus."""
        self.focus_first()

    def focus_first(self) -> None:
        """Give the keys to the first pane."""
        first = next(iter(self.panes.values()))
        wanted = first if first.can_focus else next(iter(first.query(ScrollRows)), None)
        if wanted is not None:
            wanted.focus()

    def on_resize(self, _: events.Resize) -> None:
        """Lay out for the new size."""
        self.redraw()

    def on_screen_resume(self) -> None:
        """Shown again: what was drawn may be of long ago."""
        self.redraw()

    def redraw(self) -> None:
        """Show what has changed now."""
        if self.view is not None:
            self.view.unhurried = True
            self.sync(self.view)

    def sync(self, view: View) -> None:
        """Show the view in the panes that are on the screen."""
        self.view = view
        laid = self._lay_out(view)
        if laid.plain:
            assert isinstance(self._plain, Synced)  # noqa: S101  # what make_plain promises
            self._plain.sync(view)
            return
        for name, widget in self._widgets.items():
            if name in self._rects and (view.unhurried or name in self._quick):
                assert isinstance(widget, Synced)  # noqa: S101  # what make_panes and make_bars promise
                widget.sync(view)
        if self._filter_bar is not None and "filter" in self._rects:
            self._filter_bar.count(*self.counted(view))

    def _lay_out(self, view: View) -> Frame:
        width, height = self.size
        filtering = self._filter_bar is not None and (bool(self.filter) or self._filtering)
        wanted = (width, height, self.maximised, view.player is None, filtering, self.depends(view))
        if wanted == self._arranged and self._frame is not None:
            return self._frame
        self._arranged = wanted
        self._frame = laid = frame(
            width,
            height,
            transport=view.player is not None,
            filtering=filtering,
            caption=view.narrator is not None,
        )
        rects: dict[str, Rect] = {}
        if not laid.plain:
            rects = self.place(view, laid.body, compact=laid.compact)
            if self.maximised is not None and any(name in rects for name in self.panes):
                rects = alone(rects, self.maximised, self.panes)
            rects |= laid.chrome
        self._rects = rects
        self._plain.display = laid.plain
        self._plain.styles.width, self._plain.styles.height = width, height
        for name, widget in self._widgets.items():
            rect = rects.get(name)
            widget.display = rect is not None
            widget.set_class(laid.compact, "-compact")
            if rect is not None:
                widget.styles.offset = (rect.x, rect.y)
                widget.styles.width, widget.styles.height = rect.width, rect.height
        self.placed(view, rects)
        return laid

    @property
    def focused_pane(self) -> str | None:
        """The pane that holds the focus."""
        for name, widget in self.panes.items():
            if self.focused is not None and widget in self.focused.ancestors_with_self:
                return name
        return None

    def toggle_maximised(self) -> str | None:
        """Show the focused pane alone, or all again; returns the pane shown alone."""
        self.maximised = self.focused_pane if self.maximised is None else None
        self.redraw()
        return self.maximised

    def back(self) -> bool:
        """Undo the last thing that was opened within this screen; says whether there was one."""
        if self._filtering or self.filter:
            self._stop_filtering(keep=False)
            return True
        if self.maximised is None:
            return False
        self.toggle_maximised()
        return True

    def action_filter(self) -> None:
        """Type a filter."""
        if self._filter_bar is not None and not self._plain.display:
            self._filtering = True
            self.redraw()
            self._filter_bar.start()

    def _stop_filtering(self, *, keep: bool) -> None:
        self._filtering = False
        if not keep and self._filter_bar is not None:
            self._filter_bar.clear()
            self.filter = ""
        self.focus_first()
        self.redraw()

    def on_filter_bar_changed(self, message: FilterBar.Changed) -> None:
        """The rows follow each letter."""
        self.filter = message.text
        self.redraw()

    def on_filter_bar_left(self) -> None:
        """The filter stays."""
        self._stop_filtering(keep=True)

    def scroller(self) -> ScrollRows | None:
        """What the page keys, home and end move: the focused pane's rows, else the first that scroll."""
        focused = self.focused
        if isinstance(focused, ScrollRows):
            return focused
        return next((rows for rows in self.query(ScrollRows) if rows.is_on_screen), None)

    # Asked of the app, which alone knows of clipboards, folders and other screens.

    class Said(Message):
        """Something to tell the person."""

        def __init__(self, said: str) -> None:
            super().__init__()
            self.said = said

    class Copied(Message):
        """A text to put into the clipboard; `name` says what it is, such as `sample 3`."""

        def __init__(self, name: str, text: str) -> None:
            super().__init__()
            self.name, self.text = name, text

    class Opened(Message):
        """Another page to go to, from which `esc` comes back to this one."""

        def __init__(self, page: str) -> None:
            super().__init__()
            self.page = page

    def say(self, said: str) -> None:
        """Tell the person something."""
        self.post_message(self.Said(said))

    def copy(self, name: str, text: str) -> None:
        """Put a text into the clipboard, or into a file where it is too long; says which."""
        self.post_message(self.Copied(name, text))

    def open(self, page: str) -> None:
        """Go deeper, to another page."""
        self.post_message(self.Opened(page))
