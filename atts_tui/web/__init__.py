"""The screens in a browser: a page, and a terminal behind a web socket."""
