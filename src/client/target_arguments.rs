//! Where to connect to, as the command line says it: the flags that all clients share.

use clap::Args;

use super::target::Target;

/// Flags as redis-cli has them. The number of the database is not among them: its flag differs.
#[derive(Args, Clone, Debug)]
pub struct TargetArguments {
    /// Name or address of the service
    #[arg(short = 'h', long)]
    host: Option<String>,
    #[arg(short, long)]
    pub(super) port: Option<u16>,
    #[arg(long)]
    user: Option<String>,
    /// Other programs can see it here: the variable REDISCLI_AUTH hides it
    #[arg(short = 'a', long = "password", visible_alias = "pass")]
    password: Option<String>,
    /// redis://[[user]:password@]host[:port][/database], instead of EMPTYSERVER_URL
    #[arg(short = 'u', long)]
    url: Option<String>,
    /// Speak RESP3
    #[arg(short = '3', long)]
    pub(super) resp3: bool,
}

/// What the environment says about where to connect to.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub url: Option<String>,
    pub password: Option<String>,
    /// The service that this environment configures, with its password: where to go if nothing else is said.
    pub local: Target,
}

impl TargetArguments {
    /// Flags win over the URL, `--url` over the variable; the service of this environment is asked only if none of them
    /// says where to go, because it is the only one that its password belongs to.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub(super) fn target(&self, database: Option<u32>, surroundings: &Surroundings) -> Result<Target, String> {
        let url = self.url.as_ref().or(surroundings.url.as_ref());
        let mut target = match url {
            Some(url) => Target::from_url(url).map_err(|error| error.to_string())?,
            None if self.host.is_some() || self.port.is_some() => Target::default(),
            None => surroundings.local.clone(),
        };
        if let Some(host) = &self.host {
            target.host.clone_from(host);
        }
        target.port = self.port.unwrap_or(target.port);
        target.database = database.unwrap_or(target.database);
        target.user = self.user.clone().or(target.user);
        target.password = self.password.clone().or_else(|| surroundings.password.clone()).or(target.password);
        target.is_resp3 = self.resp3;
        Ok(target)
    }
}
