//! `wasi:keyvalue`. The first argument of each command is the alias of a bucket.

use crate::Words;
use crate::bindings::wasi::keyvalue0_2_0_draft as old;
use crate::bindings::wasi::keyvalue0_2_0_draft2::atomics::{self, Cas, CasError};
use crate::bindings::wasi::keyvalue0_2_0_draft2::batch;
use crate::bindings::wasi::keyvalue0_2_0_draft2::store::{self, Bucket};
use std::fmt::Debug;
use wasmrun_guest::Failure;

pub(crate) fn call(command: &str, mut words: Words) -> Result<(), Failure> {
    let alias = words.next();
    if let Some(command) = command.strip_prefix("old-") {
        return call_old(command, alias, words);
    }
    let bucket = store::open(alias).map_err(failed)?;
    match command {
        "get" => {
            let value = bucket.get(words.rest()).map_err(failed)?;
            told(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
        }
        "set" => bucket.set(words.next(), words.rest().as_bytes()).map_err(failed),
        "delete" => bucket.delete(words.rest()).map_err(failed),
        "exists" => told(bucket.exists(words.rest()).map_err(failed)?),
        "list" => {
            let (mut keys, mut pages, mut cursor) = (0, 0, None);
            loop {
                let page = bucket.list_keys(cursor.as_deref()).map_err(failed)?;
                (keys, pages, cursor) = (keys + page.keys.len(), pages + 1, page.cursor);
                if cursor.is_none() {
                    return told((keys, pages));
                }
            }
        }
        "list-at" => told(bucket.list_keys(Some(words.rest())).map_err(failed)?.keys),
        "increment" => {
            let key = words.next();
            told(atomics::increment(&bucket, key, words.number()?).map_err(failed)?)
        }
        // Adds one this many times.
        "count" => {
            let key = words.next();
            (0..words.number::<u32>()?)
                .try_for_each(|_| atomics::increment(&bucket, key, 1).map(drop).map_err(failed))
        }
        // Adds one this many times by compare-and-swap.
        "count-cas" => {
            let key = words.next();
            (0..words.number::<u32>()?).try_for_each(|_| count_by_swap(&bucket, key))
        }
        "swap-late" => swap_late(&bucket, words.next()),
        "many" => many(&bucket),
        // Writes this many keys, a thousand in a call.
        "fill" => {
            let number: usize = words.number()?;
            (0..number).step_by(1000).try_for_each(|from| {
                let entries: Vec<_> =
                    (from..number.min(from + 1000)).map(|key| (key.to_string(), Vec::new())).collect();
                batch::set_many(&bucket, &entries).map_err(failed)
            })
        }
        "key-bytes" => bucket.set(&"k".repeat(words.number()?), b"").map_err(failed),
        "value-bytes" => bucket.set("large", &vec![b'v'; words.number()?]).map_err(failed),
        "get-many" => {
            let keys = vec!["large".to_owned(); words.number()?];
            told(batch::get_many(&bucket, &keys).map_err(failed)?.len())
        }
        "handles" => {
            let handles: Vec<Bucket> =
                (0..words.number::<usize>()?).map_while(|_| store::open(alias).ok()).collect();
            told(handles.len())
        }
        "cas-handles" => {
            let handles: Vec<Cas> =
                (0..words.number::<usize>()?).map_while(|_| Cas::new(&bucket, "key").ok()).collect();
            told(handles.len())
        }
        "get-loop" => loop {
            let _ = bucket.get("key");
        },
        "set-loop" => {
            let value = vec![b'v'; 1 << 20];
            loop {
                bucket.set("large", &value).map_err(failed)?;
            }
        }
        "batch-loop" => {
            let keys: Vec<String> = (0..1000).map(|key: u32| key.to_string()).collect();
            loop {
                batch::delete_many(&bucket, &keys).map_err(failed)?;
            }
        }
        "open-loop" => loop {
            let _ = store::open("another");
        },
        _ => Err(Failure::reject("unknown command")),
    }
}

/// Calls of the older draft.
fn call_old(command: &str, alias: &str, mut words: Words) -> Result<(), Failure> {
    let bucket = old::store::open(alias).map_err(failed)?;
    match command {
        "get" => told(bucket.get(words.rest()).map_err(failed)?),
        "increment" => {
            let key = words.next();
            told(old::atomics::increment(&bucket, key, words.number()?).map_err(failed)?)
        }
        "list" => {
            let (mut keys, mut pages, mut cursor) = (0, 0, None);
            loop {
                let page = bucket.list_keys(cursor).map_err(failed)?;
                (keys, pages, cursor) = (keys + page.keys.len(), pages + 1, page.cursor);
                if cursor.is_none() {
                    return told((keys, pages));
                }
            }
        }
        _ => Err(Failure::reject("unknown command")),
    }
}

fn count_by_swap(bucket: &Bucket, key: &str) -> Result<(), Failure> {
    let mut cas = Cas::new(bucket, key).map_err(failed)?;
    loop {
        let current = cas.current().map_err(failed)?.unwrap_or_else(|| b"0".to_vec());
        let number: u64 = String::from_utf8_lossy(&current).parse().map_err(failed)?;
        match atomics::swap(cas, (number + 1).to_string().as_bytes()) {
            Ok(()) => return Ok(()),
            Err(CasError::CasFailed(next)) => cas = next,
            Err(CasError::StoreError(error)) => return Err(failed(error)),
        }
    }
}

/// Swaps a value after another call has changed it, once the older value was seen and once it wasn't.
fn swap_late(bucket: &Bucket, key: &str) -> Result<(), Failure> {
    let mut seen = Vec::new();
    for reads in [true, false] {
        let cas = Cas::new(bucket, key).map_err(failed)?;
        if reads {
            cas.current().map_err(failed)?;
        }
        bucket.set(key, b"in between").map_err(failed)?;
        match atomics::swap(cas, b"late") {
            Err(CasError::CasFailed(next)) => {
                let current = next.current().map_err(failed)?;
                seen.push(current == Some(b"in between".to_vec()));
                atomics::swap(next, b"then").map_err(failed)?;
            }
            _ => seen.push(false),
        }
    }
    told(seen)
}

fn many(bucket: &Bucket) -> Result<(), Failure> {
    let entries = [("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())];
    batch::set_many(bucket, &entries).map_err(failed)?;
    let keys = ["b".to_owned(), "none".to_owned(), "a".to_owned()];
    let found = batch::get_many(bucket, &keys).map_err(failed)?;
    batch::delete_many(bucket, &keys).map_err(failed)?;
    let left = bucket.list_keys(None).map_err(failed)?;
    told((found, left.keys))
}

fn told(seen: impl Debug) -> Result<(), Failure> {
    Err(Failure::reject(format!("{seen:?}")))
}

fn failed(error: impl Debug) -> Failure {
    Failure::reject(format!("failed: {error:?}"))
}
