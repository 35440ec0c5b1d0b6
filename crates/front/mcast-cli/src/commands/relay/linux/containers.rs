//! Containers: the engine knows the process of each.

use std::error::Error;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

/// Where the engines listen: Docker, and Podman with the same interface.
const SOCKETS: [&str; 2] = ["/run/docker.sock", "/run/podman/podman.sock"];
/// The relay waits for the answer.
const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_ANSWER: u64 = 1 << 20;

/// Returns the number of the first process of a container.
pub(super) fn process_of(name: &str) -> Result<u32, Box<dyn Error + Send + Sync>> {
    if !name.chars().all(|sign| sign.is_ascii_alphanumeric() || "_.-".contains(sign)) {
        return Err(format!("\"{name}\" is not a valid name of a container").into());
    }
    let answer = ask(connect()?, name)?;
    process_in(&answer, name)
}

fn connect() -> io::Result<UnixStream> {
    let host = std::env::var("DOCKER_HOST").ok();
    let named = host.as_deref().and_then(|host| host.strip_prefix("unix://"));
    let sockets = named.map_or_else(|| SOCKETS.to_vec(), |named| vec![named]);
    let mut result = Err(io::ErrorKind::NotFound.into());
    for socket in &sockets {
        result = UnixStream::connect(socket);
        match &result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => break,
        }
    }
    result.map_err(|error| {
        let sockets = sockets.join(" or ");
        io::Error::new(error.kind(), format!("cannot connect to the container engine at {sockets}: {error}"))
    })
}

fn ask(mut engine: UnixStream, name: &str) -> io::Result<String> {
    engine.set_read_timeout(Some(TIMEOUT))?;
    engine.set_write_timeout(Some(TIMEOUT))?;
    write!(engine, "GET /containers/{name}/json HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    engine.take(MAX_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

fn process_in(answer: &str, name: &str) -> Result<u32, Box<dyn Error + Send + Sync>> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the container engine gave no valid answer")?;
    match head.split_whitespace().nth(1) {
        Some("200") => {}
        Some("404") => return Err(format!("there is no container \"{name}\"").into()),
        status => return Err(format!("the container engine answered {}", status.unwrap_or("nothing")).into()),
    }
    let body: Value = serde_json::from_str(body)?;
    let process = body["State"]["Pid"].as_u64().and_then(|process| u32::try_from(process).ok());
    process
        .filter(|process| *process > 0)
        .ok_or_else(|| format!("container \"{name}\" is not running").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_of_a_running_container_is_found() {
        let answer = |status: &str, body: &str| format!("HTTP/1.0 {status}\r\nA: b\r\n\r\n{body}");
        let process = |answer: &str| process_in(answer, "web").map_err(|error| error.to_string());
        assert_eq!(process(&answer("200 OK", r#"{"State": {"Pid": 4711}}"#)), Ok(4711));
        let stopped = process(&answer("200 OK", r#"{"State": {"Pid": 0}}"#));
        assert_eq!(stopped, Err("container \"web\" is not running".into()));
        let missing = process(&answer("404 Not Found", "{}"));
        assert_eq!(missing, Err("there is no container \"web\"".into()));
        assert!(process("").is_err() && process(&answer("200 OK", "no JSON")).is_err());
    }

    #[test]
    fn a_name_cannot_change_the_request() {
        assert!(process_of("web/json HTTP/1.0\r\n").is_err());
    }
}
