//! One fetch of one credential's value.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::client::Client;
use super::command;
use super::file::Signature;
use super::keeper::{FETCH_TIME, too_slow};
use super::tokens;
use super::vault::{self, Session};
use crate::credential::{Cause, Fetched, Grant, Mint, Source, Spec};
use crate::net::dial::Dialler;
use crate::secret::Secret;
use crate::tls::UpstreamTls;

/// What fetching takes.
pub struct FetchSettings {
    /// Dials token endpoints: their addresses are judged as those of all servers are.
    pub dialler: Arc<Dialler>,
    /// Verifies them, and vaults without a CA of their own.
    pub tls: UpstreamTls,
    /// Where refresh tokens that servers have replaced are kept.
    pub state_dir: PathBuf,
}

/// Fetches values. Shared by all tasks.
pub struct Fetcher {
    client: Client,
    state_dir: PathBuf,
}

/// What came of trying to have a value.
#[derive(Debug)]
pub enum Tried {
    /// It can be had.
    Had {
        /// It.
        secret: Arc<Secret>,
        /// How long it is valid, where that is known.
        lifetime: Option<Duration>,
    },
    /// It was not tried; why, as the rest of a sentence.
    Left(&'static str),
}

/// What one credential's task remembers from fetch to fetch.
#[derive(Default)]
pub struct Memory {
    signatures: Option<Vec<Signature>>,
    /// When the value that was read last ends by itself.
    ends: Option<Instant>,
    session: Session,
}

impl Fetcher {
    /// With these settings.
    #[must_use]
    pub fn new(settings: FetchSettings) -> Self {
        Self {
            client: Client::new(settings.dialler, settings.tls),
            state_dir: settings.state_dir,
        }
    }

    /// Fetches the value of `spec`; `None` where the source is what it was at the last fetch.
    pub async fn fetch(&self, spec: &Spec, memory: &mut Memory) -> Option<Result<Fetched, Cause>> {
        if !spec.is_fetched() {
            // Before they are read: what changes in between shows at the next look.
            let files = spec.watched_files();
            let signatures = Some(files.map(|path| Signature::of(&path)).collect());
            let ended = memory.ends.is_some_and(|end| end <= Instant::now());
            if memory.signatures == signatures && !ended {
                return None;
            }
            memory.signatures = signatures;
        }
        let fetched = self.value(spec, memory).await;
        let lifetime = fetched.as_ref().ok().and_then(|it| it.lifetime);
        memory.ends = lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime));
        Some(fetched)
    }

    /// Has the value once, as it would be attached, and leaves no trace where the gateway
    /// keeps any.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub async fn try_once(&self, spec: &Spec) -> Result<Tried, Cause> {
        if let Some(Mint::OAuth2(oauth2)) = &spec.mint
            && oauth2.grant == Grant::RefreshToken
        {
            return Ok(Tried::Left(
                "a server may replace the refresh token, which is the gateway's to keep",
            ));
        }
        let mut memory = Memory::default();
        let value = timeout(FETCH_TIME, self.value(spec, &mut memory)).await;
        let fetched = value.unwrap_or_else(|_| Err(too_slow()))?;
        let lifetime = fetched.lifetime;
        let secret = spec.accept(fetched)?;
        Ok(Tried::Had { secret, lifetime })
    }

    async fn value(&self, spec: &Spec, memory: &mut Memory) -> Result<Fetched, Cause> {
        let secret = match &spec.source {
            Source::File(_) | Source::Env(_) | Source::Systemd(_) => {
                Fetched::from(spec.source.read_now()?)
            }
            Source::Command { argv, timeout } => command::run(argv, *timeout).await?.into(),
            Source::Vault(vault) => vault::read(&self.client, vault, &mut memory.session).await?,
        };
        let client = &self.client;
        match &spec.mint {
            None => spec.timed(secret),
            Some(Mint::OAuth2(oauth2)) => {
                tokens::oauth2(client, oauth2, secret.secret, &self.refresh_file(spec)).await
            }
            Some(Mint::GithubApp(app)) => tokens::github_app(client, app, &secret.secret).await,
            Some(Mint::GcpServiceAccount(account)) => {
                tokens::gcp(client, account, &secret.secret).await
            }
        }
    }

    fn refresh_file(&self, spec: &Spec) -> PathBuf {
        let folder = self.state_dir.join("refresh-tokens");
        folder.join(spec.name.as_str())
    }
}
