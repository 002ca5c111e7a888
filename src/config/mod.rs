//! From TOML to checked values: the only place that sees TOML.
//!
//! A configuration is typed twice. What operators write is read as it is, with the place of
//! every value (`written`), then checked and compiled (`settings`, and the rules and credentials
//! of their own modules); only the second form leaves this module. Anything that is wrong is a
//! [`Finding`] with its place and its remedy, and all of them are told at once. A configuration
//! with an error is not used at all: the gateway then keeps the one it has, or does not start.

mod adjust;
mod agents;
mod attach;
mod check;
mod credentials;
mod dlp;
mod fault;
mod fields;
mod finding;
mod gateway_box;
mod gitleaks;
mod hosts;
mod limits;
mod load;
mod locate;
mod methods;
mod minting;
mod nearest;
mod node;
mod read;
mod reload;
mod rule_effect;
mod rule_target;
mod rules;
mod secrets;
mod settings;
mod source;
mod token_services;
mod units;
mod upstream;
mod written;

pub use dlp::{ListedSecret, detectors};
pub use finding::{Finding, Findings, Severity};
pub use load::{CommandLine, Loaded, load, load_for_command};
pub use locate::Env;
pub use reload::reload;
pub use settings::{
    Agent, Audit, Ca, Config, DeniedNames, Dns, Limits, Listen, Redirect, Timeouts, Upstream,
    WhenUnwritable,
};
pub use upstream::Believed;
