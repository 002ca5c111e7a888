//! The load that wrk and h2load cannot make, for `benches/compare/run`: new connections, new
//! names, kept and idle connections, requests at a fixed rate, and by CONNECT. Prints one JSON object.
//!
//! TLS 1.3 with X25519, as browsers' and agents' libraries agree on with every peer; no session
//! is resumed. The certificate is verified: what is measured is a connection that a client
//! would accept.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    missing_docs
)]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[derive(Parser)]
struct Args {
    /// What to do
    mode: Option<Mode>,
    /// Where to connect
    #[arg(long, default_value = "127.0.0.1:443")]
    address: SocketAddr,
    /// The server's name; `{}` stands for a number that is new each time
    #[arg(long, default_value = "localhost")]
    name: String,
    /// The first such number
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Whom to trust
    #[arg(long)]
    ca: Option<PathBuf>,
    #[arg(long, default_value = "/1k")]
    path: String,
    /// Connections at a time
    #[arg(long, default_value_t = 16)]
    connections: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Requests a second, all connections together
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// The address is of a proxy that is asked by CONNECT
    #[arg(long)]
    proxy: bool,
    /// Where connections come from: of this and those that follow it, one for each in turn
    #[arg(long)]
    source: Option<Ipv4Addr>,
    /// How many those are
    #[arg(long, default_value_t = 1)]
    sources: u32,
    /// The answer is to be 403
    #[arg(long)]
    refused: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// A new connection for each request
    Connect,
    /// Connections that made a request and then wait, until standard input ends
    Idle,
    /// Requests at a fixed rate on kept connections; late ones count from when they were due
    Paced,
    /// Requests on kept connections, one after the other
    Kept,
}

/// TLS reads little at a time; a receiver that is slow would slow the gateways.
type Stream = TlsStream<BufReader<TcpStream>>;

/// What all tasks share.
struct Load {
    args: Args,
    connector: TlsConnector,
    next: AtomicU64,
    opened: AtomicU32,
    failed: AtomicU64,
    end: Instant,
}

type Latencies = Vec<Duration>;

fn main() {
    let args = Args::parse();
    // `cargo bench` without a name runs this, too; there is nothing to connect to.
    let Some(mode) = args.mode else { return };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(args, mode));
}

async fn run(args: Args, mode: Mode) {
    let load = Arc::new(Load {
        connector: connector(&args),
        next: AtomicU64::new(args.first),
        opened: AtomicU32::new(0),
        failed: AtomicU64::new(0),
        end: Instant::now() + Duration::from_secs_f64(args.seconds),
        args,
    });
    if mode == Mode::Idle {
        return idle(&load).await;
    }
    let started = Instant::now();
    let count = load.args.connections;
    let tasks: Vec<_> = (0..count)
        .map(|at| {
            let load = load.clone();
            tokio::spawn(async move {
                match mode {
                    Mode::Paced => paced(&load, at).await,
                    Mode::Kept => kept(&load).await,
                    Mode::Connect | Mode::Idle => connect(&load).await,
                }
            })
        })
        .collect();
    let mut latencies = Latencies::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    report(&mut latencies, started.elapsed(), &load);
}

fn connector(args: &Args) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let path = args.ca.as_ref().expect("--ca");
    for certificate in CertificateDer::pem_file_iter(path).expect("a PEM file") {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = CryptoProvider {
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1],
        ..default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

impl Load {
    fn name(&self) -> String {
        let number = self.next.fetch_add(1, Relaxed).to_string();
        self.args.name.replace("{}", &number)
    }

    async fn open(&self, name: &str) -> io::Result<Stream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(source) = self.args.source {
            let turn = self.opened.fetch_add(1, Relaxed) % self.args.sources;
            let source = Ipv4Addr::from_bits(source.to_bits() + turn);
            socket.bind((source, 0).into())?;
        }
        let mut stream = socket.connect(self.args.address).await?;
        stream.set_nodelay(true)?;
        if self.args.proxy {
            ask(&mut stream, name).await?;
        }
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = BufReader::with_capacity(64 << 10, stream);
        self.connector.connect(name, stream).await
    }

    fn fail(&self, error: &io::Error) {
        if self.failed.fetch_add(1, Relaxed) == 0 {
            let _ = writeln!(io::stderr(), "the first failure: {error}");
        }
    }
}

/// Asks a proxy for a connection to a name.
async fn ask(stream: &mut TcpStream, name: &str) -> io::Result<()> {
    let ask = format!("CONNECT {name}:443 HTTP/1.1\r\nhost: {name}:443\r\n\r\n");
    stream.write_all(ask.as_bytes()).await?;
    let mut answer = Vec::new();
    // Nothing comes behind it before the handshake begins.
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if answer.starts_with(b"HTTP/1.1 200") {
        return Ok(());
    }
    Err(io::Error::other("the proxy refuses to connect"))
}

async fn kept(load: &Load) -> Latencies {
    let mut latencies = Latencies::new();
    let name = load.name();
    let done = async {
        let mut stream = load.open(&name).await?;
        while Instant::now() < load.end {
            let started = Instant::now();
            load.request(&mut stream, &name, "keep-alive").await?;
            latencies.push(started.elapsed());
        }
        Ok(())
    };
    if let Err(error) = done.await {
        load.fail(&error);
    }
    latencies
}

async fn connect(load: &Load) -> Latencies {
    let mut latencies = Latencies::new();
    while Instant::now() < load.end {
        let started = Instant::now();
        let name = load.name();
        let done = async {
            let mut stream = load.open(&name).await?;
            load.request(&mut stream, &name, "close").await
        };
        match done.await {
            Ok(()) => latencies.push(started.elapsed()),
            Err(error) => load.fail(&error),
        }
    }
    latencies
}

async fn paced(load: &Load, at: usize) -> Latencies {
    let mut latencies = Latencies::new();
    let name = load.name();
    let mut stream = match load.open(&name).await {
        Ok(stream) => stream,
        Err(error) => {
            load.fail(&error);
            return latencies;
        }
    };
    let between = Duration::from_secs_f64(load.args.connections as f64 / load.args.rate as f64);
    // Spread over the period, so that no two are due at once.
    let mut due = Instant::now() + between.mul_f64(at as f64 / load.args.connections as f64);
    while due < load.end {
        // Who is late because the answer before was counts from when the request was due; that
        // this process wakes late is no latency of a gateway's.
        let late = Instant::now() > due;
        tokio::time::sleep_until(due.into()).await;
        let from = if late { due } else { Instant::now() };
        match load.request(&mut stream, &name, "keep-alive").await {
            Ok(()) => latencies.push(from.elapsed()),
            Err(error) => {
                load.fail(&error);
                return latencies;
            }
        }
        due += between;
    }
    latencies
}

impl Load {
    async fn request(&self, stream: &mut Stream, name: &str, connection: &str) -> io::Result<()> {
        let status = if self.args.refused { 403 } else { 200 };
        request(stream, (&self.args.path, name), connection, status).await
    }
}

/// One request; an error unless the answer has this status and is whole.
async fn request(
    stream: &mut Stream,
    (path, name): (&str, &str),
    connection: &str,
    status: u16,
) -> io::Result<()> {
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {name}\r\nuser-agent: generate\r\naccept: */*\r\nconnection: {connection}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::with_capacity(4096);
    let body = loop {
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&answer[..body]).to_lowercase();
    if !head.starts_with(&format!("http/1.1 {status} ")) {
        return Err(io::Error::other(
            head.lines().next().unwrap_or_default().to_owned(),
        ));
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|length| length.parse::<usize>().ok())
        .ok_or_else(|| io::Error::other("no content-length"))?;
    let mut left = (body + length).saturating_sub(answer.len());
    if left > 0 {
        answer.resize(left.min(64 << 10), 0);
    }
    while left > 0 {
        match stream.read(&mut answer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

async fn idle(load: &Arc<Load>) {
    let mut open = Vec::new();
    while open.len() < load.args.connections {
        let wave: Vec<_> = (open.len()..load.args.connections)
            .take(32)
            .map(|_| {
                let load = load.clone();
                tokio::spawn(async move {
                    let name = load.name();
                    let mut stream = load.open(&name).await?;
                    load.request(&mut stream, &name, "keep-alive").await?;
                    Ok::<_, io::Error>(stream)
                })
            })
            .collect();
        for task in wave {
            match task.await.unwrap() {
                Ok(stream) => open.push(stream),
                Err(error) => {
                    load.fail(&error);
                    println!("{}", serde_json::json!({ "open": open.len(), "failed": 1 }));
                    return;
                }
            }
        }
    }
    println!("{}", serde_json::json!({ "open": open.len(), "failed": 0 }));
    io::stdout().flush().unwrap();
    let _ = io::stdin().read(&mut [0]);
}

fn report(latencies: &mut Latencies, took: Duration, load: &Load) {
    latencies.sort_unstable();
    let micros = |part: f64| {
        let last = latencies.len().saturating_sub(1);
        let at = (last as f64 * part).round() as usize;
        latencies.get(at).map_or(0, Duration::as_micros) as u64
    };
    let result = serde_json::json!({
        "units": latencies.len(),
        "failed": load.failed.load(Relaxed),
        "seconds": took.as_secs_f64(),
        "p50_us": micros(0.5),
        "p99_us": micros(0.99),
        "next": load.next.load(Relaxed),
    });
    println!("{result}");
}
