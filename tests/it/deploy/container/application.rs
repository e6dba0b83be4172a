//! A toy application next to wasmrun, which requests one thumbnail after the other and prints the results.
//! `container.rs` compiles it to a program that runs in the image.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

fn main() -> io::Result<()> {
    let picture = fs::read("/picture.jpg")?;
    let (input, output) = (Path::new("/shared/in"), Path::new("/shared/out"));
    for number in 1.. {
        let key = format!("{number}.jpg");
        fs::write(input.join(&key), &picture)?;
        let enqueued = Command::new("/wasmrun")
            .args(["enqueue", "--queue", "sqlite:/shared/jobs.db", "--store", "input=dir:/shared/in"])
            .args(["--prefix", &key])
            .status()?;
        assert!(enqueued.success(), "{enqueued}");
        let thumbnail = output.join(format!("{key}.jpg"));
        while !thumbnail.exists() {
            thread::sleep(Duration::from_millis(20));
        }
        println!("thumbnail {number}, sidecar: {}", health().unwrap_or_else(|error| error.to_string()));
    }
    Ok(())
}

/// The sidecar's answer on the loopback interface that both share.
fn health() -> io::Result<String> {
    let mut connection = TcpStream::connect("127.0.0.1:9464")?;
    connection.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}
