//! What a command does with files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::UNIX_EPOCH;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags};

/// Does what the words say, and returns what to say, or the kind of the error.
pub(crate) fn act(words: &[&str]) -> Result<String, io::ErrorKind> {
    let word = |index: usize| words.get(index).copied().unwrap_or_default();
    let number = |index: usize| word(index).parse::<u64>().unwrap_or_default();
    let said = match word(0) {
        "read" => fs::read_to_string(word(1)),
        "stat" => fs::metadata(word(1)).map(|metadata| {
            let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let is_dated = modified.is_some_and(|since| since.as_secs() > 0);
            let what = if metadata.is_dir() { "directory" } else { "file" };
            format!("{what} {} {is_dated}", metadata.len())
        }),
        "list" => list(word(1)),
        "copy" => fs::copy(word(1), word(2)).map(|bytes| bytes.to_string()),
        "copy-and-complete" => fs::copy(word(1), word(2)).map(|_| String::new()),
        "part" => part(word(1), number(2), number(3)),
        "sum" => sum(word(1)),
        "write" => write(word(1), number(2)).map(|()| String::new()),
        "write-whatever-comes" => {
            let _ = write(word(1), number(2));
            write(word(3), 10).map(|()| String::new())
        }
        "fill" => (0..number(2))
            .try_for_each(|number| write(&format!("{}/{number}", word(1)), 10))
            .map(|()| String::new()),
        "make" => fs::create_dir_all(word(1)).map(|()| String::new()),
        "remove" => fs::remove_file(word(1)).map(|()| String::new()),
        "remove-directory" => fs::remove_dir(word(1)).map(|()| String::new()),
        "rename" => fs::rename(word(1), word(2)).map(|()| String::new()),
        "append" => OpenOptions::new()
            .append(true)
            .open(word(1))
            .and_then(|mut file| file.write_all(b"x"))
            .map(|()| String::new()),
        "new" => {
            File::create_new(word(1)).and_then(|mut file| file.write_all(b"new")).map(|()| String::new())
        }
        "seek-and-write" => seek_and_write(word(1)).map(|()| String::new()),
        // Opens, and keeps open, without end.
        "open-on" => {
            let mut held = Vec::new();
            loop {
                match File::open(word(1)) {
                    Ok(file) => held.push(file),
                    Err(error) => return Err(error.kind()),
                }
            }
        }
        "stream-on" => stream_on(word(1)),
        "list-on" => list_on(word(1)),
        "write-on" => (0..)
            .try_for_each(|number| {
                let file = File::create(format!("{}/{number}", word(1)))?;
                std::mem::forget(file);
                Ok(())
            })
            .map(|()| String::new()),
        "make-on" => (0_u64..)
            .try_for_each(|number| fs::create_dir(format!("{}/{number}", word(1))))
            .map(|()| String::new()),
        "grow-on" => File::create(word(1)).and_then(|mut file| {
            loop {
                file.write_all(&[b'x'; 64 << 10])?;
            }
        }),
        other => Ok(format!("unknown: {other}")),
    };
    said.map_err(|error| error.kind())
}

fn list(path: &str) -> io::Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| io::ErrorKind::InvalidData)?;
        names.push(if entry.file_type()?.is_dir() { format!("{name}/") } else { name });
    }
    names.sort();
    Ok(names.join(" "))
}

/// Reads a part of a file after a seek, and its last byte after another one.
fn part(path: &str, offset: u64, length: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut part = vec![0; length as usize];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut part)?;
    file.seek(SeekFrom::End(-1))?;
    file.read_to_end(&mut part)?;
    Ok(String::from_utf8_lossy(&part).into_owned())
}

/// Reads a file piece by piece. Returns its size and the sum of its bytes.
fn sum(path: &str) -> io::Result<String> {
    let (mut file, mut piece) = (File::open(path)?, vec![0; 100_000]);
    let (mut size, mut sum) = (0, 0_u64);
    loop {
        let bytes = file.read(&mut piece)?;
        if bytes == 0 {
            return Ok(format!("{size} {sum}"));
        }
        size += bytes;
        sum += piece[..bytes].iter().map(|&byte| u64::from(byte)).sum::<u64>();
    }
}

fn write(path: &str, mut bytes: u64) -> io::Result<()> {
    let (mut file, piece) = (File::create(path)?, [b'x'; 100_000]);
    while bytes > 0 {
        let now = bytes.min(piece.len() as u64);
        file.write_all(&piece[..now as usize])?;
        bytes -= now;
    }
    file.sync_all()
}

fn seek_and_write(path: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(b"abc")?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(b"x")
}

fn root() -> Descriptor {
    get_directories().remove(0).0
}

/// Opens streams of one file without end.
fn stream_on(path: &str) -> io::Result<String> {
    let opened = root().open_at(PathFlags::empty(), path, OpenFlags::empty(), DescriptorFlags::READ);
    let file = opened.map_err(|_| io::ErrorKind::NotFound)?;
    let mut held = Vec::new();
    loop {
        let stream = file.read_via_stream(0).map_err(|_| io::ErrorKind::Other)?;
        let _ = stream.blocking_read(1);
        held.push(stream);
    }
}

/// Begins to list a directory without end.
fn list_on(path: &str) -> io::Result<String> {
    let opened = root().open_at(PathFlags::empty(), path, OpenFlags::DIRECTORY, DescriptorFlags::READ);
    let directory = opened.map_err(|_| io::ErrorKind::NotFound)?;
    let mut held = Vec::new();
    loop {
        let listing = directory.read_directory().map_err(|_| io::ErrorKind::Other)?;
        let _ = listing.read_directory_entry();
        held.push(listing);
    }
}
