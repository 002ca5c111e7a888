//! Bodies that decode to a thousand times their size, and what they cost.

use std::io::Read;

use super::*;

/// Bytes of a bomb as it is sent: the whole of it would decode to ten gigabytes.
const BOMB: usize = 10 << 20;
/// CPU time for all of one, TLS and all; the gateway of these tests is not optimised.
const CPU_SECONDS: f64 = 2.0;
const MEMORY_KIB: u64 = 64 << 10;
/// Of the times in `/proc`, to the second.
const TICKS: f64 = 100.0;

/// CPU seconds that the gateway has had.
fn cpu(lab: &Lab<'_>) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", lab.gateway.pid())).unwrap();
    // After the name, which may hold anything: user and system time are the 12th and 13th.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields = fields.split(' ').skip(11).take(2);
    fields
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum::<f64>()
        / TICKS
}

/// Many times the same, of which each may stand alone.
fn repeated(piece: &[u8]) -> Vec<u8> {
    let mut all = piece.repeat(BOMB / piece.len() + 1);
    all.truncate(BOMB);
    all
}

fn gzip(data: &[u8]) -> Vec<u8> {
    gzip_at(9, data)
}

/// A deflate stream that never ends: pieces that each begin with an empty window.
fn deflate(zeros: &[u8]) -> Vec<u8> {
    let mut deflate = flate2::Compress::new(flate2::Compression::new(9), false);
    let mut piece = Vec::with_capacity(zeros.len());
    let flush = flate2::FlushCompress::Full;
    deflate.compress_vec(zeros, &mut piece, flush).unwrap();
    let mut all = vec![0x78, 0xda];
    all.extend(repeated(&piece));
    all
}

/// One of eight megabytes of window, and one that asks for two gigabytes.
fn zstd_windows(zeros: &[u8]) -> [Vec<u8>; 2] {
    [23, 31].map(|log| {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(zeros).unwrap();
        encoder.finish().unwrap()
    })
}

fn bombs() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let zeros = vec![0; 10 << 20];
    let mut brotli = Vec::new();
    let mut encoder = brotli::CompressorReader::new(std::io::repeat(0).take(1 << 28), 4096, 1, 24);
    encoder.read_to_end(&mut brotli).unwrap();
    let zstd = repeated(&zstd::encode_all(&*zeros, 1).unwrap());
    let nested = gzip(&repeated(&gzip(&zeros)));
    let [window, huge] = zstd_windows(&zeros);
    vec![
        ("gzip", "gzip", repeated(&gzip(&zeros))),
        ("deflate", "deflate", deflate(&zeros)),
        ("br", "br", brotli),
        ("zstd", "zstd", zstd.clone()),
        ("gzip in gzip", "gzip, gzip", nested),
        ("zstd in gzip", "zstd, gzip", gzip(&zstd)),
        ("a large window", "zstd", repeated(&window)),
        ("a huge window", "zstd", huge),
    ]
}

#[test]
fn i9_bombs_cost_next_to_nothing_and_do_not_pass() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, false);
        // Everything that is made once is there.
        assert_eq!(lab.ask("POST /a HTTP/1.1", b"clean").status, 200);
        for (count, (what, codings, bomb)) in (1..).zip(bombs()) {
            let (before, memory) = (cpu(&lab), long::peak(&lab));
            let head = format!(
                "POST /bomb HTTP/1.1\r\nhost: good.test\r\ncontent-encoding: {codings}\r\n\
                 content-length: {}\r\n\r\n",
                bomb.len()
            );
            let response = lab.send(vec![head.into_bytes(), bomb]);
            assert!(
                response.is_none_or(|response| response.status == 403),
                "{what}"
            );
            let unscanned = |record: &Value| detections(record).starts_with("unscanned block ");
            lab.gateway.wait_records(count, unscanned);
            let took = cpu(&lab) - before;
            assert!(took < CPU_SECONDS, "{what} took {took} s");
            let grown = long::peak(&lab) - memory;
            assert!(grown < MEMORY_KIB, "{what} took {grown} KiB");
        }
        let passed = lab.server.requests();
        assert!(passed.iter().all(|request| request.target != "/bomb"));
    });
}
