//! From files to everything the gateway runs on, or to everything that is wrong with them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::agents::Agents;
use super::check::Check;
use super::credentials::Credentials;
use super::dlp::ListedSecret;
use super::finding::{Finding, Findings, Severity};
use super::locate::Env;
use super::minting;
use super::read::{Read, read};
use super::rules::Known;
use super::settings::{Agent, Config};
use super::source::{File, shortest};
use super::upstream::Believed;
use super::written;
use crate::credential::Spec;
use crate::dlp::Detector;
use crate::name::RuleName;
use crate::policy::rule::{Place, Rule};
use crate::policy::{Mode, Policy, agents, shadow};

/// A configuration without errors.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings of the box.
    pub config: Config,
    /// Whether denials by rule are enforced.
    pub mode: Mode,
    /// The agents, in the order written.
    pub agents: Vec<Agent>,
    /// Which agent a source address is.
    pub sources: agents::Agents,
    /// The rules, in order: the first match wins.
    pub rules: Vec<Rule>,
    /// Which servers are believed by those of them that say it.
    pub believed: Vec<(RuleName, Believed)>,
    /// The credentials, without their secrets.
    pub credentials: Vec<Spec>,
    /// What must not leave: the shipped detectors and the operator's.
    pub detectors: Vec<Detector>,
    /// The operator's secrets that must not leave either.
    pub secrets: Vec<ListedSecret>,
    /// What may not have been meant.
    pub warnings: Findings,
}

impl Loaded {
    /// The policy these files make.
    #[must_use]
    pub fn policy(&self, generation: u64) -> Policy {
        Policy::new(
            generation,
            self.mode,
            self.sources.clone(),
            self.rules.clone(),
        )
    }
}

/// Loads and checks the configuration: `file`, or else the one [`Env::config_file`] finds, and
/// its rules folder. Without any file the defaults hold, with no rule: nothing is allowed.
///
/// # Errors
/// All errors and warnings, in the order of files and lines, if there is at least one error.
pub fn load(file: Option<&Path>, env: &Env) -> Result<Loaded, Findings> {
    Load::default().finish(env.config_file(file).as_deref(), env)
}

/// What the command line of `exec` says beside the files.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// A rules folder, or one file of rules, in place of the configured folder.
    pub rules: Option<PathBuf>,
    /// Hosts as in the `hosts` of a rule, each with `:PORT` or without: everything is allowed
    /// there, after all rules of files.
    pub allow: Vec<String>,
}

/// As [`load`], for a gateway around one command: `file`, else `$PORTREEVE_CONFIG`, else no
/// file at all; and what the command line adds. The command is the agent `default`, whatever
/// agents are configured, and every port is redirected.
///
/// # Errors
/// As [`load`].
pub fn load_for_command(
    file: Option<&Path>,
    env: &Env,
    command_line: CommandLine,
) -> Result<Loaded, Findings> {
    let load = Load {
        command_line: Some(command_line),
        ..Load::default()
    };
    let mut loaded = load.finish(env.chosen_file(file).as_deref(), env)?;
    loaded.sources = agents::Agents::none();
    Ok(loaded)
}

/// The option of [`CommandLine::allow`].
const ALLOW: &str = "--allow";
/// Lines of the rule that each makes.
const LINES: usize = 6;

/// The rule of one `--allow HOST[:PORT]`, of [`LINES`] lines; or what is wrong and what helps.
fn allow_rule(number: usize, written: &str) -> Result<String, (String, String)> {
    let bare = written.split_once("://").map_or(written, |(_, rest)| rest);
    let bare = bare.split(['/', '?', '#']).next().unwrap_or_default();
    if bare != written {
        let message = "this is a URL or a part of one".to_owned();
        return Err((message, format!("give a host: {ALLOW} {bare}")));
    }
    let (host, port) = match written.rsplit_once(':') {
        Some((name, port)) if !name.ends_with(':') && !port.ends_with(']') => (name, Some(port)),
        _ => (written, None),
    };
    let ports = match port.map(str::parse::<u16>) {
        None => String::new(),
        Some(Ok(port)) => format!("ports = [{port}]"),
        Some(Err(_)) => {
            let message = format!("`{}` is no port", port.unwrap_or_default());
            return Err((message, "give a number from 1 to 65535".to_owned()));
        }
    };
    let host = toml::Value::from(host);
    // The whole host: no path of it is told from another, so a slash in one is not either.
    Ok(format!(
        "[[rule]]\nname = \"allow-{number}\"\nagents = [\"any\"]\nhosts = [{host}]\n\
         encoded_slash = true\n{ports}\n"
    ))
}

/// A file of the rules folder and what was read from it, if anything.
type RulesFile = (File, Option<Read<written::Rules>>);

#[derive(Default)]
pub(super) struct Load {
    pub(super) findings: Findings,
    /// Names of all files, in the order they were read.
    files: Vec<Arc<str>>,
    /// Whether some rules file could not be read, so that a name may be missing for that.
    unread: bool,
    /// There for a gateway around one command.
    command_line: Option<CommandLine>,
}

impl Load {
    fn finish(mut self, path: Option<&Path>, env: &Env) -> Result<Loaded, Findings> {
        let loaded = self.everything(path, env);
        if let Some(line) = &self.command_line {
            self.findings.name_options(ALLOW, LINES, &line.allow);
        }
        self.findings.sort(&self.files);
        match loaded {
            Some(loaded) if !self.findings.has_errors() => Ok(Loaded {
                warnings: self.findings,
                ..loaded
            }),
            _ => Err(self.findings),
        }
    }

    fn everything(&mut self, path: Option<&Path>, env: &Env) -> Option<Loaded> {
        let (file, written) = match path {
            Some(path) => {
                let file = self.file(path)?;
                let written = read::<written::Box>(&file, &mut self.findings)?;
                (file, written)
            }
            None => (File::none(), Read::default()),
        };
        let mut check = Check {
            file: &file,
            findings: &mut self.findings,
        };
        let mode = check.mode(written.value.mode.as_ref());
        let config = check.gateway_box(&written.value, env);
        let redirect = config
            .as_ref()
            .map(|config| config.redirect.clone())
            .unwrap_or_default();
        let agents = check.agents(&written, &redirect);
        if config.is_none() && !self.findings.has_errors() {
            let message = "there is no place for state: none of $STATE_DIRECTORY, \
                $XDG_STATE_HOME and $HOME is set, and /var/lib cannot be written";
            self.tell(
                Severity::Error,
                message,
                "write `state_dir` in portreeve.toml",
            );
        }
        let folder = self.rules_folder(path, &file, &written);
        let mut files = folder
            .as_deref()
            .map(|folder| self.rules_files(folder))
            .unwrap_or_default();
        files.extend(self.allowed_hosts());
        let looked_for = self.detectors(path, &file, &written);
        let ports = self.command_line.is_none().then_some(&*redirect.ports);
        let (rules, believed, credentials) = self.policy(&files, &agents, ports);
        if rules.is_empty() && !self.findings.has_errors() {
            self.nothing_allowed(path, folder.as_deref());
        }
        let rules_folder = folder.and_then(|folder| std::path::absolute(folder).ok());
        Some(Loaded {
            config: Config {
                rules: rules_folder,
                ..config?
            },
            mode,
            sources: self.sources(&agents)?,
            agents: agents.all,
            rules,
            believed,
            credentials: credentials.specs,
            detectors: looked_for.detectors,
            secrets: looked_for.secrets,
            warnings: Findings::default(),
        })
    }

    fn tell(&mut self, severity: Severity, message: impl Into<String>, help: &str) {
        let mut finding = Finding::new(severity, message);
        finding.help(help);
        self.findings.push(finding);
    }

    fn nothing_allowed(&mut self, path: Option<&Path>, folder: Option<&Path>) {
        let help = match (path, folder) {
            _ if self.command_line.is_some() => "add --allow HOST or --rules FILE".to_owned(),
            (None, _) => "name a file with --config or $PORTREEVE_CONFIG, \
                or write /etc/portreeve/portreeve.toml"
                .to_owned(),
            (Some(_), Some(folder)) => {
                format!(
                    "write [[rule]] tables into `{}`",
                    folder.join("*.toml").display()
                )
            }
            (Some(_), None) => {
                "make that folder and write [[rule]] tables into its *.toml files".to_owned()
            }
        };
        let message = "there is no rule, so every request is refused";
        self.tell(Severity::Warning, message, &help);
    }

    /// Compiles the agents. Everything it could complain about has been told with its place,
    /// so what is left is an error without one.
    fn sources(&mut self, agents: &Agents) -> Option<agents::Agents> {
        let sources = agents
            .all
            .iter()
            .map(|agent| (agent.name.clone(), agent.sources.clone()));
        match agents::Agents::new(sources.collect()) {
            Ok(sources) => Some(sources),
            Err(error) => {
                if !self.findings.has_errors() {
                    let finding = Finding::new(Severity::Error, error.to_string());
                    self.findings.push(finding);
                }
                None
            }
        }
    }

    pub(super) fn file(&mut self, path: &Path) -> Option<File> {
        match File::read(path) {
            Ok(file) => {
                self.files.push(file.name.clone());
                Some(file)
            }
            Err(finding) => {
                self.findings.push(*finding);
                None
            }
        }
    }

    /// The folder of the rules, named the way the operator named the file. One that is written
    /// must be there.
    fn rules_folder(
        &mut self,
        path: Option<&Path>,
        file: &File,
        written: &Read<written::Box>,
    ) -> Option<PathBuf> {
        if let Some(named) = self
            .command_line
            .as_ref()
            .and_then(|line| line.rules.clone())
        {
            return Some(named);
        }
        let beside = path?.parent().unwrap_or(Path::new(""));
        if written.is_damaged("rules", 0) {
            return None;
        }
        let Some(text) = &written.value.rules else {
            let folder = beside.join("rules");
            if folder.is_dir() {
                return Some(folder);
            }
            let message = format!("there is no folder `{}`", folder.display());
            self.tell(
                Severity::Warning,
                message,
                "make it, or name another with `rules`",
            );
            return None;
        };
        let folder = shortest(&beside.join(text.get_ref()));
        if folder.is_dir() && !text.get_ref().is_empty() {
            return Some(folder);
        }
        let mut check = Check {
            file,
            findings: &mut self.findings,
        };
        let message = format!("there is no folder `{}`", folder.display());
        check.error(
            text.span(),
            message,
            "make it; relative paths are relative to this file",
        );
        None
    }

    /// The file of rules that the hosts of the command line make.
    fn allowed_hosts(&mut self) -> Option<RulesFile> {
        let allow = self.command_line.as_ref()?.allow.clone();
        if allow.is_empty() {
            return None;
        }
        let mut text = String::new();
        for (index, written) in allow.iter().enumerate() {
            let rule = match allow_rule(index + 1, written) {
                Ok(rule) => rule,
                Err((message, help)) => {
                    let message = format!("{ALLOW} {written}: {message}");
                    self.tell(Severity::Error, message, &help);
                    // As many lines as a rule, so that lines tell options.
                    "\n".repeat(LINES)
                }
            };
            text.push_str(&rule);
        }
        let file = File::of_command_line(ALLOW, text);
        self.files.push(file.name.clone());
        let written = read(&file, &mut self.findings);
        Some((file, written))
    }

    /// Every `*.toml` of the folder but hidden ones, in byte order of name; or the one file.
    fn rules_files(&mut self, folder: &Path) -> Vec<RulesFile> {
        if self.command_line.is_some() && folder.is_file() {
            let Some(file) = self.file(folder) else {
                return Vec::new();
            };
            let written = read(&file, &mut self.findings);
            return vec![(file, written)];
        }
        let mut files = Vec::new();
        for path in self.listed(folder) {
            let Some(file) = self.file(&path) else {
                self.unread = true;
                continue;
            };
            let written = read(&file, &mut self.findings);
            self.unread |= written.is_none();
            files.push((file, written));
        }
        files
    }

    /// Every `*.toml` of the folder but hidden ones, in byte order of name.
    pub(super) fn listed(&mut self, folder: &Path) -> Vec<PathBuf> {
        let listed = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = match listed {
            Ok(entries) => entries,
            Err(error) => {
                let message = format!("`{}` cannot be listed: {error}", folder.display());
                self.findings.push(Finding::new(Severity::Error, message));
                return Vec::new();
            }
        };
        let mut names: Vec<_> = entries
            .into_iter()
            .map(|entry| entry.file_name())
            .filter(|name| {
                let name = name.as_bytes();
                name.ends_with(b".toml") && !name.starts_with(b".")
            })
            .collect();
        names.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        names.into_iter().map(|name| folder.join(name)).collect()
    }

    /// Credentials of all files first, as rules may name those of any file.
    fn policy(
        &mut self,
        files: &[RulesFile],
        agents: &Agents,
        ports: Option<&[u16]>,
    ) -> (Vec<Rule>, Vec<(RuleName, Believed)>, Credentials) {
        let mut credentials = Credentials {
            incomplete: self.unread,
            ..Credentials::default()
        };
        for (file, written) in files {
            if let Some(written) = written {
                Check {
                    file,
                    findings: &mut self.findings,
                }
                .credentials(written, &mut credentials);
            }
        }
        let mut known = Known {
            agents,
            credentials: &credentials,
            ports,
            named: HashMap::new(),
            used: HashSet::new(),
            believed: Vec::new(),
        };
        let mut rules = Vec::new();
        for (file, written) in files {
            if let Some(written) = written {
                rules.extend(
                    Check {
                        file,
                        findings: &mut self.findings,
                    }
                    .rules(written, &mut known),
                );
            }
        }
        let (used, believed) = (known.used, known.believed);
        if !self.findings.has_errors() {
            self.never_used(files, &credentials, &used);
            self.never_matching(files, &rules);
            self.minting(files, &rules, &credentials);
        }
        (rules, believed, credentials)
    }

    /// A secret that nobody uses had better not be there.
    fn never_used(
        &mut self,
        files: &[RulesFile],
        credentials: &Credentials,
        used: &HashSet<String>,
    ) {
        for spec in &credentials.specs {
            if !used.contains(spec.name.as_str()) {
                let message = format!("no rule uses the credential `{}`", spec.name);
                let help = "name it in the `credential` of a rule, or remove it";
                self.at(files, &spec.place, message, |finding| {
                    finding.help(help);
                });
            }
        }
    }

    fn never_matching(&mut self, files: &[RulesFile], rules: &[Rule]) {
        for (never, because) in shadow::unreachable_rules(rules) {
            let (Some(rule), Some(earlier)) = (rules.get(never), rules.get(because)) else {
                continue;
            };
            let message = format!(
                "rule `{}` can never match: `{}` comes first and matches all of it",
                rule.name, earlier.name
            );
            self.at(files, &rule.place, message, |finding| {
                finding
                    .related(
                        earlier.place.clone(),
                        format!("`{}` is written", earlier.name),
                    )
                    .help("the first match wins: put the narrower rule first, or remove it");
            });
        }
    }

    /// A credential had better not be attached where services make more of them.
    fn minting(&mut self, files: &[RulesFile], rules: &[Rule], credentials: &Credentials) {
        for (index, rule) in rules.iter().enumerate() {
            if let Some(covered) = minting::covered(rules, index, &credentials.specs) {
                self.at(files, &rule.place, covered.message, |finding| {
                    finding.help(covered.help);
                });
            }
        }
    }

    fn at(
        &mut self,
        files: &[RulesFile],
        place: &Place,
        message: String,
        complete: impl FnOnce(&mut Finding),
    ) {
        if let Some((file, _)) = files.iter().find(|(file, _)| file.name == place.file) {
            let mut finding = file.finding_at(Severity::Warning, place, message);
            complete(&mut finding);
            self.findings.push(finding);
        }
    }
}
