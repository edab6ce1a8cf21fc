//! Where to connect to and as whom, as the command line says it: the flags that `cli` and `bench` share.

use std::path::PathBuf;

use clap::Args;

use super::surroundings::Surroundings;
use super::target::Target;
use super::terminal;
use super::tls::Tls;

/// Flags as redis-cli has them. Two lack their short form, which is the cli's alone.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConnectionArguments {
    /// Name or address of the service
    #[arg(short = 'h', long)]
    host: Option<String>,
    /// Port of the service [6379]
    #[arg(short, long)]
    port: Option<u16>,
    /// Path of a unix socket, instead of host and port
    #[arg(long, conflicts_with_all = ["host", "port", "url"])]
    socket: Option<PathBuf>,
    /// Number of the database
    #[arg(long = "db")]
    database: Option<u32>,
    /// Who logs in, where it is not the user `default`
    #[arg(long)]
    user: Option<String>,
    /// Other programs can see it here: --askpass and the variable REDISCLI_AUTH hide it
    #[arg(short = 'a', long = "password", visible_alias = "pass")]
    password: Option<String>,
    /// Ask for the password
    #[arg(long, conflicts_with = "password")]
    askpass: bool,
    /// redis://[[user]:password@]host[:port][/database] (or valkey://), instead of EMPTYSERVER_URL
    #[arg(short = 'u', long)]
    url: Option<String>,
    /// Speak RESP3
    #[arg(short = '3', long)]
    resp3: bool,
    /// Encrypt, and check the service's certificate; a rediss:// or valkeys:// URL says the same
    #[arg(long, conflicts_with = "socket")]
    tls: bool,
    /// Authorities to trust, as PEM, instead of those of this machine
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// The client's certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of the client's certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The name in the certificate, where it is not the host's
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// Take any certificate: who sits between can then read everything
    #[arg(long)]
    insecure: bool,
}

impl ConnectionArguments {
    /// Flags win over the URL, `--url` over the variable; the service of this environment is asked only if none of them
    /// says where to go, because it is the only one that its password belongs to.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub(crate) fn target(&self, surroundings: &Surroundings) -> Result<Target, String> {
        let is_elsewhere = self.host.is_some() || self.port.is_some() || self.socket.is_some();
        let url = self.url.as_ref().or_else(|| surroundings.url.as_ref().filter(|_| self.socket.is_none()));
        let mut target = match url {
            Some(url) => Target::from_url(url).map_err(|error| error.to_string())?,
            None if is_elsewhere => Target::default(),
            None => surroundings.local.clone(),
        };
        if let Some(host) = &self.host {
            target.host.clone_from(host);
        }
        target.port = self.port.unwrap_or(target.port);
        target.socket.clone_from(&self.socket);
        target.database = self.database.unwrap_or(target.database);
        target.user = self.user.clone().or(target.user);
        target.password = self.password.clone().or_else(|| surroundings.password.clone()).or(target.password);
        target.is_resp3 = self.resp3;
        target.tls = self.tls(target.tls)?;
        Ok(target)
    }

    /// `given`: what the URL or the environment says; the flags say all of it, or nothing.
    fn tls(&self, given: Option<Tls>) -> Result<Option<Tls>, String> {
        let identity = self.cert.clone().zip(self.key.clone());
        let is_described = self.cacert.is_some() || identity.is_some() || self.sni.is_some() || self.insecure;
        match (self.tls || is_described, given) {
            (false, given) => Ok(given),
            (true, None) if !self.tls => Err("--cacert, --cert, --key, --sni and --insecure are about TLS: add --tls, or use a rediss:// or valkeys:// URL".to_owned()),
            (true, _) => {
                let (authorities, server_name) = (self.cacert.clone(), self.sni.clone());
                Ok(Some(Tls { authorities, identity, server_name, is_unverified: self.insecure }))
            }
        }
    }

    /// What the person types as password, where the flag says that somebody is to be asked.
    ///
    /// # Errors
    /// There is nobody at a terminal.
    pub(crate) fn ask_password(&self) -> Result<Option<String>, String> {
        self.askpass.then(terminal::ask_password).transpose()
    }

    /// True exactly when other programs can see a password among the arguments.
    pub(crate) fn shows_password(&self) -> bool {
        let is_in_url = |url: &String| Target::from_url(url).is_ok_and(|target| target.password.is_some());
        self.password.is_some() || self.url.as_ref().is_some_and(is_in_url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    #[command(disable_help_flag = true)]
    struct Program {
        #[command(flatten)]
        arguments: ConnectionArguments,
    }

    fn target(words: &[&str], surroundings: &Surroundings) -> Result<Target, String> {
        Program::try_parse_from([&["program"], words].concat()).unwrap().arguments.target(surroundings)
    }

    fn surroundings() -> Surroundings {
        let local = Target { port: 7000, password: Some("local".into()), ..Target::default() };
        Surroundings { local, ..Surroundings::default() }
    }

    #[test]
    fn without_flags_the_service_of_this_environment_is_asked() {
        let target = target(&[], &surroundings()).unwrap();
        assert_eq!((target.port, target.password.as_deref()), (7000, Some("local")));
    }

    #[test]
    fn another_host_or_port_never_gets_the_local_password() {
        for words in [["-h", "other"], ["-p", "7001"]] {
            assert_eq!(target(&words, &surroundings()).unwrap().password, None);
        }
    }

    #[test]
    fn flags_win_over_the_url_and_the_url_flag_over_the_variable() {
        let mut surroundings = surroundings();
        surroundings.url = Some("redis://:pw@one:1/1".into());
        let found = target(&["--db", "5", "-p", "9"], &surroundings).unwrap();
        assert_eq!((found.host.as_str(), found.port, found.database), ("one", 9, 5));
        assert_eq!(found.password.as_deref(), Some("pw"));
        let found = target(&["-u", "redis://two", "-a", "x"], &surroundings).unwrap();
        assert_eq!((found.host.as_str(), found.password.as_deref()), ("two", Some("x")));
        surroundings.password = Some("auth".into());
        assert_eq!(target(&[], &surroundings).unwrap().password.as_deref(), Some("auth"));
        assert!(target(&["-u", "http://two"], &surroundings).is_err());
    }

    #[test]
    fn a_socket_needs_neither_host_nor_url() {
        let mut surroundings = surroundings();
        surroundings.url = Some("redis://:pw@one:1/1".into());
        let target = target(&["--socket", "/run/kv.sock"], &surroundings).unwrap();
        assert_eq!((target.to_string().as_str(), target.password), ("/run/kv.sock", None));
    }

    #[test]
    fn tls_is_asked_for_by_the_flag_the_url_or_the_environment_and_its_flags_by_nothing_else() {
        let tls = |words: &[&str]| target(words, &surroundings()).map(|target| target.tls);
        assert_eq!(tls(&["--tls"]), Ok(Some(Tls::default())));
        assert_eq!(tls(&["-u", "rediss://kv"]), Ok(Some(Tls::default())));
        let tls_of_url = tls(&["-u", "rediss://kv", "--insecure"]).unwrap().unwrap();
        assert!(tls_of_url.is_unverified);
        assert!(tls(&["--cacert", "ca.pem"]).unwrap_err().contains("add --tls"));
        let own = Some(Tls { is_unverified: true, ..Tls::default() });
        let surroundings =
            Surroundings { local: Target { tls: own.clone(), ..Target::default() }, ..Surroundings::default() };
        assert_eq!(target(&[], &surroundings).unwrap().tls, own);
        assert_eq!(target(&["-h", "other"], &surroundings).unwrap().tls, None);
        assert_eq!(target(&["--tls"], &surroundings).unwrap().tls, Some(Tls::default()));
    }
}
