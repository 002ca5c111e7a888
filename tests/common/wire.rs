//! Requests as servers received them, answers as they are scripted, responses as agents
//! read them. HTTP/1 is read here without any library, so that nothing is smoothed over.

/// A header or trailer section, in order, names as they came.
pub type Fields = Vec<(String, String)>;

/// One request as a server received it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `HTTP/1.1`, `HTTP/1.0` or `HTTP/2`.
    pub version: String,
    pub method: String,
    /// The request target, or `:path`.
    pub target: String,
    /// `:authority`; HTTP/1 has the `host` field instead.
    pub authority: Option<String>,
    pub headers: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// The SNI of its connection.
    pub sni: Option<String>,
    /// Which connection of this server it came on, counted from 0.
    pub connection: usize,
}

impl Request {
    /// The first value of a header, its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        field(&self.headers, name)
    }

    /// Every value of a header.
    pub fn header_all(&self, name: &str) -> Vec<&str> {
        let of_name = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .filter(of_name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// Reads one HTTP/1 request; `None` while it is not whole. Also returns its length.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (line, headers, start) = head(bytes)?;
        let mut words = line.split(' ').map(str::to_owned);
        let [method, target, version] = [(); 3].map(|()| words.next().unwrap_or_default());
        let (body, trailers, length) = body(&headers, &bytes[start..])?;
        let request = Self {
            version,
            method,
            target,
            headers,
            body,
            trailers,
            ..Self::default()
        };
        Some((request, start + length))
    }
}

/// What a scripted server answers.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// On HTTP/1, exactly these bytes instead of all the above.
    pub raw: Option<Vec<u8>>,
    /// On HTTP/1, close the connection after it.
    pub close: bool,
    /// The most bytes of a chunk or a DATA frame; 0: as they come.
    pub piece: usize,
}

impl Answer {
    /// 200 with a body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
            trailers: Vec::new(),
            raw: None,
            close: false,
            piece: 0,
        }
    }

    /// The body in chunks, or DATA frames, of so many bytes.
    pub fn in_pieces_of(mut self, bytes: usize) -> Self {
        self.piece = bytes;
        self
    }

    /// Another status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// One more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// One more trailer: on HTTP/1 the body then goes in chunks.
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.into(), value.into()));
        self
    }

    /// Exactly these bytes, on HTTP/1; the connection is closed after them.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            raw: Some(bytes.into()),
            close: true,
            ..Self::ok("")
        }
    }

    /// Close the HTTP/1 connection after it.
    pub fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// The body as it is sent.
    pub fn pieces(&self) -> std::slice::Chunks<'_, u8> {
        let whole = self.body.len().max(1);
        self.body
            .chunks(if self.piece == 0 { whole } else { self.piece })
    }

    /// As HTTP/1.1.
    pub fn to_h1(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut text = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        let mut line = |name: &str, value: &str| text.push_str(&format!("{name}: {value}\r\n"));
        for (name, value) in &self.headers {
            line(name, value);
        }
        if self.close {
            line("connection", "close");
        }
        let mut bytes = Vec::new();
        if self.trailers.is_empty() && self.piece == 0 {
            line("content-length", &self.body.len().to_string());
            bytes.extend_from_slice(format!("{text}\r\n").as_bytes());
            bytes.extend_from_slice(&self.body);
            return bytes;
        }
        line("transfer-encoding", "chunked");
        bytes.extend_from_slice(format!("{text}\r\n").as_bytes());
        for chunk in self.pieces() {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n");
        for (name, value) in &self.trailers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

/// One response as an agent read it.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
}

impl Response {
    /// The first value of a header, its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        field(&self.headers, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads one HTTP/1 response whose connection has ended; `None` if it is not whole.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Self::parse_part(bytes, false, true).map(|(response, _)| response)
    }

    /// Reads one HTTP/1 response; `None` while it is not whole. Also returns its length.
    /// `bodiless` is the answer to a HEAD; `ended` says that no more bytes will come.
    pub fn parse_part(bytes: &[u8], bodiless: bool, ended: bool) -> Option<(Self, usize)> {
        let (line, headers, start) = head(bytes)?;
        let status: u16 = line.split(' ').nth(1)?.parse().ok()?;
        let rest = &bytes[start..];
        let framed = field(&headers, "content-length").or(field(&headers, "transfer-encoding"));
        let (body, trailers, length) = if bodiless || status < 200 || status == 204 || status == 304
        {
            (Vec::new(), Vec::new(), 0)
        } else if framed.is_none() {
            // Until the connection ends (RFC 9112 section 6.3).
            if !ended {
                return None;
            }
            (rest.to_vec(), Vec::new(), rest.len())
        } else {
            body(&headers, rest)?
        };
        let response = Self {
            status,
            headers,
            body,
            trailers,
        };
        Some((response, start + length))
    }
}

/// The first value of `name` in `fields`.
pub fn field<'f>(fields: &'f Fields, name: &str) -> Option<&'f str> {
    let mut values = fields
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name));
    values.next().map(|(_, value)| value.as_str())
}

/// Where `needle` first stands in `bytes`.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}

/// The start line, the fields and the length of a head.
fn head(bytes: &[u8]) -> Option<(String, Fields, usize)> {
    let end = find(bytes, b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let (line, rest) = text.split_once("\r\n").unwrap_or((&text, ""));
    Some((line.to_owned(), fields(rest), end + 4))
}

fn fields(text: &str) -> Fields {
    let lines = text.split("\r\n").filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// Body, trailers and length of both on the wire.
fn body(headers: &Fields, bytes: &[u8]) -> Option<(Vec<u8>, Fields, usize)> {
    let chunked =
        field(headers, "transfer-encoding").is_some_and(|value| value.ends_with("chunked"));
    if chunked {
        return chunks(bytes);
    }
    let length = field(headers, "content-length").map_or(0, |value| value.parse().unwrap());
    let body = bytes.get(..length)?;
    Some((body.to_vec(), Vec::new(), length))
}

fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, Fields, usize)> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let line_end = at + find(&bytes[at..], b"\r\n")?;
        let line = String::from_utf8_lossy(&bytes[at..line_end]);
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        at = line_end + 2;
        if size == 0 {
            let trailer_end = if bytes[at..].starts_with(b"\r\n") {
                at
            } else {
                at + find(&bytes[at..], b"\r\n\r\n")? + 2
            };
            let trailers = fields(&String::from_utf8_lossy(&bytes[at..trailer_end]));
            bytes.get(..trailer_end + 2)?;
            return Some((body, trailers, trailer_end + 2));
        }
        body.extend_from_slice(bytes.get(at..at + size)?);
        bytes.get(..at + size + 2)?;
        at += size + 2;
    }
}
