"""Where each pane goes, as pure functions of the terminal's size: rectangles, no widgets.

`frame` is common to all screens; each screen has a module of its own that divides what the frame leaves.
"""
