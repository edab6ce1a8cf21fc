//! The health probe for containers: does the service on this machine answer?

use std::time::Duration;

use super::connection::{ClientError, Connection, Patience};
use super::target::Target;
use crate::resp::Reply;

/// Containers are probed every few seconds, and a probe that hangs must not outlive the next one.
const PATIENCE: Patience = Patience { connect: Duration::from_secs(2), read: Some(Duration::from_secs(2)) };

/// One line about a service that answers.
///
/// # Errors
/// One line about what is wrong.
pub fn probe(target: &Target) -> Result<String, String> {
    match ping(target) {
        Ok(Reply::Simple(text)) if text == "PONG" => Ok(format!("{target} answers")),
        Ok(Reply::Error(text)) => judge(target, &text),
        Ok(_) => Err(format!("{target} answers PING with something else")),
        Err(ClientError::Refused(text)) => judge(target, &text),
        // It lives, and lets only those in who show a certificate.
        Err(error) if error.to_string().contains("CertificateRequired") => {
            Ok(format!("{target} answers, and asks for a certificate"))
        }
        // The others name the address themselves.
        Err(error @ ClientError::Connect { .. }) => Err(error.to_string()),
        Err(error) => Err(format!("{target}: {error}")),
    }
}

fn ping(target: &Target) -> Result<Reply, ClientError> {
    Connection::connect(target, PATIENCE)?.call(&["PING"])
}

/// A password that was changed at run time (CONFIG SET) is not known here: the service answers, and that is the question.
fn judge(target: &Target, text: &str) -> Result<String, String> {
    if ["NOAUTH", "WRONGPASS", "ERR AUTH", "NOPERM"].iter().any(|refusal| text.starts_with(refusal)) {
        Ok(format!("{target} answers, with another password than the configured one"))
    } else {
        Err(format!("{target}: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// A service that answers whatever comes first with `response`.
    fn probe_service(response: &'static str) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::listening_at(listener.local_addr().unwrap());
        let service = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _: usize = stream.read(&mut [0; 64]).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
        });
        let answer = probe(&target).map(|line| line.replace(&target.to_string(), "it"));
        service.join().unwrap();
        answer.map_err(|line| line.replace(&target.to_string(), "it"))
    }

    #[test]
    fn a_service_that_answers_is_healthy() {
        assert_eq!(probe_service("+PONG\r\n"), Ok("it answers".into()));
        assert!(probe_service("-NOAUTH Authentication required.\r\n").is_ok());
    }

    #[test]
    fn a_service_that_refuses_or_is_something_else_is_not() {
        assert_eq!(
            probe_service("-ERR max number of clients reached\r\n"),
            Err("it: ERR max number of clients reached".into())
        );
        assert!(probe_service("HTTP/1.1 400 Bad Request\r\n").unwrap_err().contains("does not speak the protocol"));
        assert!(probe_service("").unwrap_err().contains("closed the connection"));
    }
}
