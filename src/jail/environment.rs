//! The variables of the command: those of the caller, less what leads around the gateway or
//! holds a secret, and with those that make clients trust it.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::trust::BUNDLE;

/// Agents, buses and daemons of the caller, which would act outside in the command's name;
/// what the service manager handed to us; files of startup code.
const UNSET: [&str; 19] = [
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "GPG_AGENT_INFO",
    "GNOME_KEYRING_CONTROL",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "CONTAINER_HOST",
    "TMUX",
    "TMUX_PANE",
    "STY",
    "WAYLAND_DISPLAY",
    "WAYLAND_SOCKET",
    "XAUTHORITY",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "CREDENTIALS_DIRECTORY",
    "PORTREEVE_CONFIG",
];

/// All that begins with one of these.
const UNSET_PREFIXES: [&str; 2] = ["DBUS_", "VSCODE_"];

/// Proxies, in either case: connections go out directly here and are redirected.
const UNSET_SUFFIX: &str = "_PROXY";

/// Read by clients that do not look into the system's store, or into only a part of it.
const TRUST: [&str; 14] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "DENO_CERT",
    "CODEX_CA_CERTIFICATE",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "NIX_SSL_CERT_FILE",
    "HEX_CACERTS_PATH",
];

/// The environment of the command. `keep` wins over what would be unset here, and over
/// `secret`, the variables that hold a secret.
pub(super) fn of_command(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    keep: &[String],
    secret: &[String],
) -> BTreeMap<OsString, OsString> {
    let stays = |name: &str| {
        let named = |names: &[String]| names.iter().any(|other| other == name);
        named(keep) || !(is_unset(name) || named(secret))
    };
    let mut environment: BTreeMap<OsString, OsString> = variables
        .into_iter()
        .filter(|(name, _)| stays(&name.to_string_lossy()))
        .collect();
    for name in TRUST {
        environment.insert(name.into(), BUNDLE.into());
    }
    environment
}

fn is_unset(name: &str) -> bool {
    UNSET.contains(&name)
        || UNSET_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.to_ascii_uppercase().ends_with(UNSET_SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_around_the_gateway_is_unset() {
        let variables = [
            ("HOME", "/home/u"),
            ("SSH_AUTH_SOCK", "/x"),
            ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/x"),
            ("https_proxy", "http://x"),
            ("ALL_PROXY", "http://x"),
            ("API_KEY", "secret"),
            ("DOCKER_HOST", "unix:///x"),
        ];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let keep = ["DOCKER_HOST".to_owned()];
        let environment = of_command(variables, &keep, &["API_KEY".to_owned()]);
        let names: Vec<_> = environment
            .keys()
            .filter_map(|name| name.to_str())
            .collect();
        let ours = |name: &&&str| !TRUST.contains(name);
        let names: Vec<_> = names.iter().filter(ours).collect();
        assert_eq!(names, [&"DOCKER_HOST", &"HOME"]);
        assert_eq!(environment[&OsString::from("SSL_CERT_FILE")], BUNDLE);
    }
}
