// A WebSocket client of Node: the `ws` package's, or the built-in one.
const { createHash } = require("node:crypto");
const { readFileSync } = require("node:fs");
const Socket = process.argv[3] === "ws" ? require("ws") : globalThis.WebSocket;
const large = readFileSync(process.argv[2]);
const sha256 = (bytes) => createHash("sha256").update(Buffer.from(bytes)).digest("hex");
const socket = new Socket("wss://ws.good.test/echo", ["chat"]);
socket.binaryType = "arraybuffer";
const answers = [];
socket.onopen = () => {
  console.log(socket.protocol);
  socket.send("Grüße");
};
socket.onmessage = ({ data }) => {
  answers.push(data);
  console.log(typeof data === "string" ? data : sha256(data));
  if (answers.length < 3) socket.send(large);
  else socket.close(1000);
};
socket.onerror = (event) => {
  console.error(event.message ?? event.error ?? event);
  process.exit(1);
};
socket.onclose = ({ code }) => console.log(code);
