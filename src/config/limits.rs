//! `[limits]` and `[timeouts]`: numbers, sizes and durations within sensible ranges.

use std::time::Duration;

use toml::Spanned;

use super::check::Check;
use super::settings::{Limits, Timeouts};
use super::units::{Complaint, duration, size};
use super::written::{self, Number, Text};

/// The highest count of anything.
const COUNT_MAX: i64 = 100_000_000;
/// The smallest buffer that still holds an ordinary head or ClientHello.
const BUFFER_MIN: u64 = 1024;
/// The largest buffer; a TLS handshake message ends at 16 MiB (RFC 8446 §4).
const BUFFER_MAX: u64 = 1 << 24;
/// The largest body that is held in memory.
const HOLD_MAX: u64 = 1 << 30;
/// The most memory for held bodies.
const HELD_MAX: u64 = 1 << 40;
/// The most that a compressed body may decode to.
const DECODED_MAX: u64 = 1 << 40;
/// The longest timeout.
const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 86_400);

impl Check<'_> {
    /// Checks `[limits]`.
    pub(super) fn limits(&mut self, written: &written::Limits) -> Limits {
        let default = Limits::default();
        let requests = written.requests_per_agent.as_ref();
        let mut limits = Limits {
            connections: self.count(written.connections.as_ref(), default.connections),
            requests_per_agent: self.count(requests, default.requests_per_agent),
            hold_bytes: self.bytes(written.hold_bytes.as_ref(), 0, HOLD_MAX, default.hold_bytes),
            held_bytes: self.bytes(written.held_bytes.as_ref(), 0, HELD_MAX, default.held_bytes),
            hello_bytes: self.buffer(written.hello_bytes.as_ref(), default.hello_bytes),
            head_bytes: self.buffer(written.head_bytes.as_ref(), default.head_bytes),
            head_fields: self.count(written.head_fields.as_ref(), default.head_fields),
            body_bytes: self.bytes_or_unlimited(written.body_bytes.as_ref()),
            streams: self.count(written.streams.as_ref(), default.streams),
            control_frames: self.count(written.control_frames.as_ref(), default.control_frames),
            upstream_connections: self.count(
                written.upstream_connections.as_ref(),
                default.upstream_connections,
            ),
            upstream_idle: self
                .count_or_none(written.upstream_idle.as_ref(), default.upstream_idle),
            upstream_idle_per_key: self.count_or_none(
                written.upstream_idle_per_key.as_ref(),
                default.upstream_idle_per_key,
            ),
            leaves: self.count(written.leaves.as_ref(), default.leaves),
            refused_leaves: self.count(written.refused_leaves.as_ref(), default.refused_leaves),
            interim_responses: self.count_or_none(
                written.interim_responses.as_ref(),
                default.interim_responses,
            ),
            resolved_names: self.count(written.resolved_names.as_ref(), default.resolved_names),
            ..default.clone()
        };
        limits.connections_per_agent = self.part(
            (
                "connections_per_agent",
                written.connections_per_agent.as_ref(),
            ),
            default.connections_per_agent,
            ("connections", limits.connections),
        );
        limits.upstream_connections_per_agent = self.part(
            (
                "upstream_connections_per_agent",
                written.upstream_connections_per_agent.as_ref(),
            ),
            default.upstream_connections_per_agent,
            ("upstream_connections", limits.upstream_connections),
        );
        self.passing_bytes(written, &mut limits);
        self.rates(written, &mut limits);
        limits.held_bytes_per_agent = self.held_bytes_per_agent(written, &limits);
        limits.uri_bytes = self.uri_bytes(written.uri_bytes.as_ref(), limits.head_bytes);
        limits
    }

    /// What is counted by the second, and what a name may say.
    fn rates(&mut self, written: &written::Limits, limits: &mut Limits) {
        let leaves = written.refused_leaves_per_second.as_ref();
        limits.refused_leaves_per_second = self.count(leaves, limits.refused_leaves_per_second);
        let refusals = written.refusals_per_second.as_ref();
        limits.refusals_per_second = self.count(refusals, limits.refusals_per_second);
        let lookups = written.lookups_per_second.as_ref();
        limits.lookups_per_second = self.count(lookups, limits.lookups_per_second);
        let bits = written.lookup_name_bits.as_ref();
        limits.lookup_name_bits = self.count(bits, limits.lookup_name_bits);
        let records = written.refused_connection_records_per_second.as_ref();
        limits.refused_connection_records_per_second =
            self.count(records, limits.refused_connection_records_per_second);
    }

    /// What passes without being kept.
    fn passing_bytes(&mut self, written: &written::Limits, limits: &mut Limits) {
        let mut decoded = |text: &Option<Text>, default| {
            self.bytes(text.as_ref(), BUFFER_MIN, DECODED_MAX, default)
        };
        limits.decoded_bytes = decoded(&written.decoded_bytes, limits.decoded_bytes);
        limits.decoded_request_bytes =
            decoded(&written.decoded_request_bytes, limits.decoded_request_bytes);
        limits.message_bytes = self.bytes_or_unlimited(written.message_bytes.as_ref());
        limits.splice_bytes = self.bytes_or_unlimited(written.splice_bytes.as_ref());
    }

    /// Checks `[timeouts]`.
    pub(super) fn timeouts(&mut self, written: &written::Timeouts) -> Timeouts {
        let default = Timeouts::default();
        Timeouts {
            hello: self.timeout(written.hello.as_ref(), default.hello),
            handshake: self.timeout(written.handshake.as_ref(), default.handshake),
            head: self.timeout(written.head.as_ref(), default.head),
            request_share: self.timeout(written.request_share.as_ref(), default.request_share),
            body: self.timeout(written.body.as_ref(), default.body),
            hold: self.timeout(written.hold.as_ref(), default.hold),
            idle: self.timeout(written.idle.as_ref(), default.idle),
            resolve: self.timeout(written.resolve.as_ref(), default.resolve),
            connect: self.timeout(written.connect.as_ref(), default.connect),
            first_byte: self.timeout(written.first_byte.as_ref(), default.first_byte),
            response: self.timeout(written.response.as_ref(), default.response),
            write: self.timeout(written.write.as_ref(), default.write),
            expect: self.timeout(written.expect.as_ref(), default.expect),
            tunnel: self.timeout(written.tunnel.as_ref(), default.tunnel),
            tunnel_life: self.timeout(written.tunnel_life.as_ref(), default.tunnel_life),
            close: self.timeout(written.close.as_ref(), default.close),
            upstream_idle: self.timeout(written.upstream_idle.as_ref(), default.upstream_idle),
            upstream_age: self.timeout(written.upstream_age.as_ref(), default.upstream_age),
            drain: self.timeout(written.drain.as_ref(), default.drain),
        }
    }

    /// A count of at least one.
    pub(super) fn count<T: TryFrom<i64>>(&mut self, written: Option<&Number>, default: T) -> T {
        self.count_from(1, written, default)
    }

    /// A count where 0 means none at all.
    fn count_or_none<T: TryFrom<i64>>(&mut self, written: Option<&Number>, default: T) -> T {
        self.count_from(0, written, default)
    }

    fn count_from<T: TryFrom<i64>>(
        &mut self,
        least: i64,
        written: Option<&Number>,
        default: T,
    ) -> T {
        written
            .and_then(|number| self.number(number, least, COUNT_MAX))
            .and_then(|value| T::try_from(value).ok())
            .unwrap_or(default)
    }

    /// A count that is part of another: never more than that.
    fn part(
        &mut self,
        part: (&str, Option<&Number>),
        default: usize,
        whole: (&str, usize),
    ) -> usize {
        let value = self.count(part.1, default);
        if let Some(number) = part.1
            && value > whole.1
        {
            let message = format!(
                "`{}` is more than `{}`, which is {}",
                part.0, whole.0, whole.1
            );
            self.error(number.span(), message, format!("at most {}", whole.1));
        }
        value.min(whole.1)
    }

    fn buffer(&mut self, written: Option<&Text>, default: usize) -> usize {
        self.bytes(written, BUFFER_MIN, BUFFER_MAX, default)
    }

    fn bytes(&mut self, written: Option<&Text>, least: u64, most: u64, default: usize) -> usize {
        let value = written.and_then(|text| {
            self.parse(text, |text| {
                let bytes = size(text)?;
                if (least..=most).contains(&bytes) {
                    return Ok(bytes);
                }
                Err(
                    Complaint::new(format!("`{text}` is out of range")).help(format!(
                        "from {} to {}",
                        spell(least),
                        spell(most)
                    )),
                )
            })
        });
        value
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(default)
    }

    fn bytes_or_unlimited(&mut self, written: Option<&Text>) -> Option<u64> {
        let text = written.filter(|text| text.get_ref() != "unlimited")?;
        self.parse(text, |text| {
            size(text).map_err(|complaint| {
                let help = complaint.help.unwrap_or_default();
                Complaint::new(complaint.message).help(format!("{help}, or `unlimited`"))
            })
        })
    }

    /// A target is part of its head, so it cannot be longer.
    /// One agent's part of `held_bytes`, which one body of `hold_bytes` must fit into.
    fn held_bytes_per_agent(&mut self, written: &written::Limits, limits: &Limits) -> usize {
        let text = written.held_bytes_per_agent.as_ref();
        let default = limits.held_bytes_per_agent.min(limits.held_bytes);
        let value = self.bytes(text, 0, HELD_MAX, default);
        let fault = if value > limits.held_bytes {
            "`held_bytes_per_agent` is more than `held_bytes`, of which it is a part"
        } else if value < limits.hold_bytes {
            "one body of `hold_bytes` does not fit into what may be held for an agent"
        } else {
            return value;
        };
        let at = text
            .or(written.held_bytes.as_ref())
            .or(written.hold_bytes.as_ref());
        if let Some(text) = at {
            let help =
                "hold_bytes, held_bytes_per_agent and held_bytes must not fall in this order";
            self.error(text.span(), fault, help);
        }
        value
    }

    fn uri_bytes(&mut self, written: Option<&Text>, head_bytes: usize) -> usize {
        let value = self.bytes(written, 64, BUFFER_MAX, Limits::default().uri_bytes);
        if let Some(text) = written
            && value > head_bytes
        {
            let message = "`uri_bytes` is more than `head_bytes`, of which it is a part";
            let most = u64::try_from(head_bytes).unwrap_or(u64::MAX);
            self.error(text.span(), message, format!("at most {}", spell(most)));
        }
        value.min(head_bytes)
    }

    fn timeout(&mut self, written: Option<&Spanned<String>>, default: Duration) -> Duration {
        let value = written.and_then(|text| {
            self.parse(text, |text| match duration(text)? {
                Duration::ZERO => Err(Complaint::new("a timeout of nothing lets nothing through")
                    .help("write it like `10s`, `500ms`, `5m`, `1h30m`")),
                long if long > TIMEOUT_MAX => {
                    Err(Complaint::new(format!("`{text}` is out of range")).help("at most `30d`"))
                }
                fine => Ok(fine),
            })
        });
        value.unwrap_or(default)
    }
}

/// A size with the largest unit that divides it.
fn spell(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >> shift > 0 && bytes.trailing_zeros() >= shift {
            return format!("`{}{unit}`", bytes >> shift);
        }
    }
    format!("`{bytes}B`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_spelled_with_their_largest_unit() {
        for (bytes, text) in [
            (0, "`0B`"),
            (1000, "`1000B`"),
            (1024, "`1KiB`"),
            (1 << 24, "`16MiB`"),
            (1536, "`1536B`"),
        ] {
            assert_eq!(spell(bytes), text);
        }
    }
}
