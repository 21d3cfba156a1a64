// The terminal's socket lies beside this page, under the same secret; only the page knows its own address.
const terminal = document.getElementById("terminal");
const here = new URL(".", window.location.href);
terminal.dataset.sessionWebsocketUrl = here.href.replace(/^http/, "ws") + "ws";
const size = new URLSearchParams(window.location.search).get("fontsize");
if (size !== null && /^\d{1,2}$/.test(size)) {
  terminal.dataset.fontSize = size;
}
