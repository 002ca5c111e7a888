//! What a refused handshake says.

use super::Reason;

impl Reason {
    /// The TLS alert for a connection refused before its handshake (RFC 8446 §6.2).
    #[must_use]
    #[allow(clippy::too_many_lines, reason = "a table")]
    pub fn alert(self) -> u8 {
        const HANDSHAKE_FAILURE: u8 = 40;
        const ACCESS_DENIED: u8 = 49;
        const DECODE_ERROR: u8 = 50;
        const INTERNAL_ERROR: u8 = 80;
        const UNRECOGNIZED_NAME: u8 = 112;
        match self {
            Self::NoServerName => UNRECOGNIZED_NAME,
            Self::BadHello => DECODE_ERROR,
            Self::HandshakeFailed | Self::HandshakeTimeout => HANDSHAKE_FAILURE,
            Self::Internal => INTERNAL_ERROR,
            Self::Loop
            | Self::NoOrigin
            | Self::ConnectionLimit
            | Self::UnknownProtocol
            | Self::EncryptedHello
            | Self::MintLimit
            | Self::UnknownAgent
            | Self::Malformed
            | Self::BadPath
            | Self::HeadTooLarge
            | Self::UriTooLong
            | Self::BodyTooLarge
            | Self::MessageTooLarge
            | Self::RequestTimeout
            | Self::Misdirected
            | Self::BadMethod
            | Self::BadExpectation
            | Self::UpgradeRefused
            | Self::NoRule
            | Self::DeniedByRule
            | Self::ForeignCredential
            | Self::PlaceholderMisplaced
            | Self::Unsignable
            | Self::Detected
            | Self::Honeytoken
            | Self::RateLimited
            | Self::RequestLimit
            | Self::HoldLimit
            | Self::AuditFull
            | Self::AuditUnwritable
            | Self::Draining
            | Self::CredentialUnavailable
            | Self::UpstreamLimit
            | Self::LookupLimit
            | Self::NameEntropy
            | Self::NameNotFound
            | Self::ResolverFailed
            | Self::ForbiddenNetwork
            | Self::ConnectFailed
            | Self::ConnectTimeout
            | Self::UpstreamCertificate
            | Self::UpstreamIdentity
            | Self::UpstreamTls
            | Self::UpstreamMalformed
            | Self::UpstreamClosed
            | Self::UpstreamTimeout
            | Self::SpliceTooLarge
            | Self::IdleTimeout
            | Self::TunnelExpired
            | Self::NoHttp2
            | Self::Undecodable
            | Self::EchoFound
            | Self::AgentClosed => ACCESS_DENIED,
        }
    }
}
