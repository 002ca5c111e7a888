//! hudsucker, as it comes, and what it needs to stand where a transparent gateway stands.
//!
//! ```text
//! hudsucker-peer proxy ADDRESS CA.pem CA.key    # the proxy: what is measured
//! hudsucker-peer front ADDRESS PROXY            # takes redirected connections, asks the proxy by CONNECT
//! ```
//!
//! hudsucker wants to be asked by CONNECT, which wrk and h2load do not do. The front takes their
//! redirected connections, reads the server's name out of the ClientHello and asks in the agent's
//! place. It is a process of its own, and its time is not counted.

use std::error::Error;
use std::net::SocketAddr;
use std::{env, fs, io};

use hudsucker::Proxy;
use hudsucker::certificate_authority::RcgenAuthority;
use hudsucker::hyper_util::client::legacy::connect::HttpConnector;
use hudsucker::rcgen::{Issuer, KeyPair};
use hudsucker::rustls::crypto::aws_lc_rs::default_provider;
use hudsucker::rustls::pki_types::CertificateDer;
use hudsucker::rustls::pki_types::pem::PemObject;
use hudsucker::rustls::server::Acceptor;
use hudsucker::rustls::{ClientConfig, RootCertStore};
use hyper_rustls::HttpsConnectorBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["proxy", address, certificate, key] => proxy(address.parse()?, certificate, key).await,
        ["front", address, proxy] => front(address.parse()?, proxy.parse()?).await,
        _ => Err("proxy ADDRESS CA.pem CA.key, or front ADDRESS PROXY".into()),
    }
}

/// With a connector that trusts the bench's CA, and nothing else changed.
async fn proxy(address: SocketAddr, certificate: &str, key: &str) -> Result<()> {
    let key = KeyPair::from_pem(&fs::read_to_string(key)?)?;
    let issuer = Issuer::from_ca_cert_pem(&fs::read_to_string(certificate)?, key)?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let tls = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(http);
    let proxy = Proxy::builder()
        .with_addr(address)
        .with_ca(RcgenAuthority::new(issuer, 1_000, default_provider()))
        .with_http_connector(connector)
        .build()?;
    Ok(proxy.start().await?)
}

async fn front(address: SocketAddr, proxy: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (agent, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = pass(agent, proxy).await {
                eprintln!("{error}");
            }
        });
    }
}

async fn pass(mut agent: TcpStream, proxy: SocketAddr) -> io::Result<()> {
    let (hello, name) = hello(&mut agent).await?;
    let mut server = TcpStream::connect(proxy).await?;
    server.set_nodelay(true)?;
    agent.set_nodelay(true)?;
    let ask = format!("CONNECT {name}:443 HTTP/1.1\r\nhost: {name}:443\r\n\r\n");
    server.write_all(ask.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(server.read_u8().await?);
    }
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(io::Error::other("the proxy refuses to connect"));
    }
    server.write_all(&hello).await?;
    copy_bidirectional(&mut agent, &mut server).await?;
    Ok(())
}

/// All that came up to the end of the ClientHello, and the name in it.
async fn hello(agent: &mut TcpStream) -> io::Result<(Vec<u8>, String)> {
    let (mut acceptor, mut bytes) = (Acceptor::default(), Vec::new());
    loop {
        let from = bytes.len();
        if agent.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        acceptor.read_tls(&mut &bytes[from..])?;
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let name = accepted.client_hello().server_name().map(ToOwned::to_owned);
                let name = name.ok_or_else(|| io::Error::other("no server name"))?;
                return Ok((bytes, name));
            }
            Ok(None) => {}
            Err((error, _)) => return Err(io::Error::other(error)),
        }
    }
}
