//! The one TLS record that is written without a TLS library: the word before hanging up on a
//! ClientHello that is not going to get a handshake.

/// A plaintext fatal alert (RFC 8446 §5.1 and §6) for the agent to show instead of a bare
/// "connection reset". The version is that of TLS 1.2, as all records' since (§5.1).
#[must_use]
pub fn alert_record(code: u8) -> [u8; 7] {
    const ALERT: u8 = 21;
    const VERSION: [u8; 2] = [3, 3];
    const LENGTH: [u8; 2] = [0, 2];
    const FATAL: u8 = 2;
    [
        ALERT, VERSION[0], VERSION[1], LENGTH[0], LENGTH[1], FATAL, code,
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{AlertDescription, ClientConnection, Error};

    use super::*;
    use crate::tls::test_pki::{Pki, client_config, name};

    #[test]
    fn a_client_reads_the_alert() {
        let config = Arc::new(client_config(&Pki::new()));
        let mut client = ClientConnection::new(config, name("good.test")).unwrap();
        client.write_tls(&mut Vec::new()).unwrap();
        client.read_tls(&mut alert_record(49).as_slice()).unwrap();
        assert_eq!(
            client.process_new_packets().unwrap_err(),
            Error::AlertReceived(AlertDescription::AccessDenied)
        );
    }
}
