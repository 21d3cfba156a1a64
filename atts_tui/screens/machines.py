"""The Machines screen: GPUs, servers, their load over the run, and what memory the samples take."""

from collections.abc import Hashable
from typing import get_args

from textual.widget import Widget

from atts_core.events import Role
from atts_tui.layout.frame import Rect
from atts_tui.layout.machines import arrange_machines
from atts_tui.screens.run_screen import RunScreen
from atts_tui.view import View
from atts_tui.widgets.gpu_rows import gpu_rows
from atts_tui.widgets.machine_charts import MemoryChart, ThroughputChart
from atts_tui.widgets.row_pane import RowPane
from atts_tui.widgets.server_rows import server_rows, workers_of

MARGIN = 5
"""Cells of a line that frame, padding and scroll bar take."""


class MachinesScreen(RunScreen):
    """What the run stands on."""

    PAGE = "machines"

    _lines = (1, 1)
    """That the panes above need."""
    _counted: Hashable = None
    """What those were counted of."""

    def make_panes(self) -> dict[str, Widget]:
        """Lines above, charts below."""
        return {
            "gpus": RowPane(gpu_rows, machines_key, title="GPUs", id="gpus"),
            "servers": RowPane(server_rows, machines_key, title="Servers", id="servers"),
            "throughput": ThroughputChart(id="throughput"),
            "memory": MemoryChart(id="memory"),
        }

    def depends(self, view: View) -> Hashable:
        """How many lines the panes above need."""
        if view.unhurried:
            width = max(self.size.width - MARGIN, 20)
            made_of = (width, machines_key(view))
            if made_of != self._counted:
                self._counted = made_of
                self._lines = (len(gpu_rows(view, width)), len(server_rows(view, width)))
        return self._lines

    def place(self, _view: View, body: Rect, *, compact: bool) -> dict[str, Rect]:
        """Panes as high as their lines, charts in the rest."""
        return arrange_machines(body, *self._lines, compact=compact)


def machines_key(view: View) -> Hashable:
    """Changes with a reading, a loss, and each second, for readings grow old."""
    state = view.state
    sources = tuple((source.read_at, source.unavailable) for source in state.machines.sources.values())
    workers = tuple(
        (worker.read_at, worker.lost) for role in get_args(Role) for _, worker in workers_of(view, role)
    )
    return (sources, workers, int(state.now), state.finished is not None, state.run is None, view.epoch)
