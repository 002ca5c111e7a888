//! Node: fetch and https.

use crate::{Site, expected, inside, with_site};

const FETCH: &str = r#"
const { createHash } = require("node:crypto");
const { readFileSync } = require("node:fs");
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
(async () => {
  const download = await fetch("https://api.good.test/download");
  console.log(download.status, sha256(Buffer.from(await download.arrayBuffer())));
  const body = readFileSync(process.argv[1]);
  const upload = await fetch("https://api.good.test/upload", { method: "POST", body });
  console.log(upload.status, await upload.text());
  const refused = await fetch("https://elsewhere.test/");
  console.log(refused.status, refused.headers.get("content-type"));
})();
"#;

const HTTPS: &str = r#"
const { createHash } = require("node:crypto");
const { createReadStream } = require("node:fs");
const https = require("node:https");
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
const ask = (url, options, body) => new Promise((resolve, reject) => {
  const request = https.request(url, { agent, ...options }, (answer) => {
    const pieces = [];
    answer.on("data", (piece) => pieces.push(piece));
    answer.on("end", () => resolve([answer, Buffer.concat(pieces)]));
    answer.on("error", reject);
  });
  request.on("error", reject);
  if (body) body.pipe(request); else request.end();
});
(async () => {
  const [download, bytes] = await ask("https://api.good.test/download", {});
  console.log(download.statusCode, sha256(bytes));
  const body = createReadStream(process.argv[1]);
  const [upload, digest] = await ask("https://api.good.test/upload", { method: "POST" }, body);
  console.log(upload.statusCode, digest.toString());
  const [refused] = await ask("https://elsewhere.test/", {});
  console.log(refused.statusCode, refused.headers["content-type"]);
  agent.destroy();
})();
"#;

fn script(site: &Site<'_>, script: &str) {
    let mut command = site.command("node");
    command
        .env("NODE_EXTRA_CA_CERTS", &site.ca)
        .args(["-e", script])
        .arg(&site.upload);
    let output = String::from_utf8(site.stdout(command)).unwrap();
    assert_eq!(output, expected());
    assert_eq!(site.received("/download").len(), 1);
    assert_eq!(site.received("/upload").len(), 1);
}

#[test]
fn node_fetch() {
    inside(|| with_site(&["node"], |site| script(site, FETCH)));
}

#[test]
fn node_https() {
    inside(|| with_site(&["node"], |site| script(site, HTTPS)));
}
