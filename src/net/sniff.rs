//! What a connection speaks, told from its first bytes: TLS, HTTP/1 in clear, or neither.
//!
//! Pure. A ClientHello is reassembled over any number of TLS records and any split of the
//! stream, then read strictly: what two parsers could read differently is [`Sniff::BadHello`],
//! because the name found here decides whether the connection is intercepted at all.

use crate::name::Host;

/// `ContentType.handshake` (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// `HandshakeType.client_hello` (RFC 8446 §4).
const CLIENT_HELLO: u8 = 1;
/// The longest fragment of a plaintext record (RFC 8446 §5.1).
const FRAGMENT_MAX: usize = 1 << 14;
/// Type, version and length in front of every record.
const RECORD_HEADER: usize = 5;
/// Type and 24-bit length in front of every handshake message.
const MESSAGE_HEADER: usize = 4;
/// The longest registered method has 17 letters (`UPDATEREDIRECTREF`).
const METHOD_MAX: usize = 24;

/// What the first bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sniff {
    /// Not to be told yet.
    More,
    /// TLS, with its whole ClientHello.
    Tls(Hello),
    /// An HTTP/1 request line seems to begin.
    Http,
    /// Neither (SSH, HTTP/2 with prior knowledge, `SSLv2`, anything else).
    Unknown,
    /// TLS, but the ClientHello is malformed, ambiguous or too large; says what is wrong.
    BadHello(&'static str),
}

/// What of a ClientHello matters before the handshake (RFC 8446 §4.1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The `server_name` (RFC 6066 §3); never an address.
    pub name: Option<Host>,
    /// What the agent can speak inside.
    pub alpn: Alpn,
    /// Whether an `encrypted_client_hello` is there; browsers also send empty ones (GREASE).
    pub has_ech: bool,
}

/// The `application_layer_protocol_negotiation` extension (RFC 7301 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alpn {
    /// The extension is there.
    pub offered: bool,
    /// It holds `h2`.
    pub h2: bool,
    /// It holds `http/1.1`.
    pub http1: bool,
}

/// Sniffs `bytes`, all that has arrived so far, at once.
///
/// For a growing buffer keep a [`Sniffer`]: this function begins anew with each call.
pub fn sniff(bytes: &[u8], max: usize) -> Sniff {
    Sniffer::new(max).sniff(bytes)
}

/// Sniffs a growing buffer; every byte is looked at once, however finely it is split.
#[derive(Debug)]
pub struct Sniffer {
    max: usize,
    /// Where in the buffer the first record lies that is not yet in `message`.
    next: usize,
    /// The handshake message as far as its records have arrived whole.
    message: Vec<u8>,
}

impl Sniffer {
    /// A sniffer that reads at most `max` bytes of records; 64 KiB is enough for any client.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            max,
            next: 0,
            message: Vec::new(),
        }
    }

    /// Takes *all* bytes that have arrived so far, each time from the first one.
    pub fn sniff(&mut self, bytes: &[u8]) -> Sniff {
        match bytes {
            [] | [HANDSHAKE] => Sniff::More,
            [HANDSHAKE, 3, ..] => self.records(bytes).unwrap_or_else(Sniff::BadHello),
            _ => sniff_http(bytes),
        }
    }

    /// Moves on over whole records until the ClientHello is complete.
    fn records(&mut self, bytes: &[u8]) -> Result<Sniff, &'static str> {
        loop {
            let rest = bytes.get(self.next..).unwrap_or_default();
            let Some((header, rest)) = rest.split_first_chunk::<RECORD_HEADER>() else {
                return self.more(bytes.len());
            };
            let [kind, major, _, high, low] = *header;
            let length = usize::from(u16::from_be_bytes([high, low]));
            if (kind, major) != (HANDSHAKE, 3) {
                return Err("another record stands inside the ClientHello");
            }
            if length == 0 || length > FRAGMENT_MAX {
                return Err("a record is empty or too long");
            }
            let Some(fragment) = rest.get(..length) else {
                return self.more(self.next.saturating_add(RECORD_HEADER + length));
            };
            self.next = self.next.saturating_add(RECORD_HEADER + length);
            self.message.extend_from_slice(fragment);
            if let Some(body) = self.body()? {
                return Ok(Sniff::Tls(client_hello(body)?));
            }
        }
    }

    /// The body of the ClientHello once all of it is there.
    fn body(&self) -> Result<Option<&[u8]>, &'static str> {
        let Some((header, body)) = self.message.split_first_chunk::<MESSAGE_HEADER>() else {
            return match self.message.first() {
                None | Some(&CLIENT_HELLO) => Ok(None),
                Some(_) => Err("the first message is no ClientHello"),
            };
        };
        let [kind, a, b, c] = *header;
        if kind != CLIENT_HELLO {
            return Err("the first message is no ClientHello");
        }
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if length > self.max {
            return Err("the ClientHello is too large");
        }
        match body.len().cmp(&length) {
            std::cmp::Ordering::Less => Ok(None),
            std::cmp::Ordering::Equal => Ok(Some(body)),
            std::cmp::Ordering::Greater => Err("something follows the ClientHello in its record"),
        }
    }

    /// Waits for the record that ends at `end`, unless that is more than may be read.
    fn more(&self, end: usize) -> Result<Sniff, &'static str> {
        if end > self.max {
            return Err("the ClientHello is too large");
        }
        Ok(Sniff::More)
    }
}

/// An HTTP/1 request line begins with a method in capitals and a space (RFC 9112 §3).
/// The strict parser has the last word; here only what is surely something else is turned away.
fn sniff_http(bytes: &[u8]) -> Sniff {
    let method_byte = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'-';
    let length = bytes.iter().take_while(|byte| method_byte(byte)).count();
    let (method, rest) = bytes.split_at_checked(length).unwrap_or_default();
    let begins_well = method.first().is_none_or(u8::is_ascii_uppercase);
    if !begins_well || length > METHOD_MAX {
        return Sniff::Unknown;
    }
    match rest.first() {
        None => Sniff::More,
        // The preface of HTTP/2 with prior knowledge (RFC 9113 §3.4).
        Some(b' ') if method != b"PRI" && !method.is_empty() => Sniff::Http,
        Some(_) => Sniff::Unknown,
    }
}

/// Reads the body of a ClientHello (RFC 8446 §4.1.2) to its last byte.
fn client_hello(body: &[u8]) -> Result<Hello, &'static str> {
    const BAD: &str = "the ClientHello does not parse";
    let mut reader = Reader(body);
    let [major, _] = reader.array().ok_or(BAD)?;
    let _random: [u8; 32] = reader.array().ok_or(BAD)?;
    let session_id = reader.vec8().ok_or(BAD)?;
    let suites = reader.vec16().ok_or(BAD)?;
    let compression = reader.vec8().ok_or(BAD)?;
    let fields_fit = major == 3
        && session_id.len() <= 32
        && !suites.is_empty()
        && suites.len().is_multiple_of(2)
        && !compression.is_empty();
    if !fields_fit {
        return Err(BAD);
    }
    if reader.is_empty() {
        return Ok(Hello::default()); // TLS 1.2 without any extension.
    }
    let extensions = reader.vec16().ok_or(BAD)?;
    if !reader.is_empty() {
        return Err("bytes follow the extensions");
    }
    read_extensions(extensions)
}

fn read_extensions(extensions: &[u8]) -> Result<Hello, &'static str> {
    const SERVER_NAME: u16 = 0;
    const ALPN: u16 = 16;
    const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
    const BAD: &str = "an extension does not parse";
    let mut hello = Hello::default();
    let mut kinds = Vec::new();
    let mut reader = Reader(extensions);
    while !reader.is_empty() {
        let kind = reader.u16().ok_or(BAD)?;
        let data = reader.vec16().ok_or(BAD)?;
        kinds.push(kind);
        match kind {
            SERVER_NAME => hello.name = Some(server_name(data)?),
            ALPN => hello.alpn = alpn(data).ok_or("the ALPN extension does not parse")?,
            ENCRYPTED_CLIENT_HELLO => hello.has_ech = true,
            _ => {}
        }
    }
    kinds.sort_unstable();
    let count = kinds.len();
    kinds.dedup();
    if kinds.len() != count {
        return Err("an extension is there twice");
    }
    Ok(hello)
}

/// Exactly one entry of type `host_name` (RFC 6066 §3).
fn server_name(data: &[u8]) -> Result<Host, &'static str> {
    const HOST_NAME: u8 = 0;
    const BAD: &str = "the server_name extension does not parse";
    let mut reader = Reader(data);
    let mut list = Reader(reader.vec16().ok_or(BAD)?);
    let [kind] = list.array().ok_or(BAD)?;
    if kind != HOST_NAME {
        return Err("the server_name is of an unknown type");
    }
    let name = list.vec16().ok_or(BAD)?;
    if !list.is_empty() {
        return Err("there is more than one server_name");
    }
    if !reader.is_empty() {
        return Err(BAD);
    }
    Host::from_sni(name).map_err(|_| "the server_name is no canonical host name")
}

fn alpn(data: &[u8]) -> Option<Alpn> {
    let mut reader = Reader(data);
    let mut list = Reader(reader.vec16()?);
    if list.is_empty() || !reader.is_empty() {
        return None;
    }
    let mut alpn = Alpn {
        offered: true,
        ..Alpn::default()
    };
    while !list.is_empty() {
        match list.vec8()? {
            b"" => return None,
            b"h2" => alpn.h2 = true,
            b"http/1.1" => alpn.http1 = true,
            _ => {}
        }
    }
    Some(alpn)
}

/// Reads the presentation language of RFC 8446 §3 from the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// A vector with a length of one byte.
    fn vec8(&mut self) -> Option<&'a [u8]> {
        let [length] = self.array()?;
        self.take(length.into())
    }

    /// A vector with a length of two bytes.
    fn vec16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
}

#[cfg(test)]
mod tests;
