//! Holds as many resources as it can: fills its memory, opens 50 readers, and reads the whole object `large` of `input`
//! several times. The message is the number of reads.

use std::hint::black_box;

use wasmrun_guest::{Failure, Message, Store, handler, info};

handler!(handle);

const BLOCK_BYTES: usize = 256 << 10;

fn handle(message: Message) -> Result<(), Failure> {
    let times: u32 = message.body().parse().map_err(Failure::reject)?;
    let input = Store::open("input")?;
    let mut content = input.get("large")?.content;
    // The rest of the memory, in blocks that are filled.
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut block = Vec::new();
        if block.try_reserve_exact(BLOCK_BYTES).is_err() {
            break;
        }
        block.resize(BLOCK_BYTES, 1);
        blocks.push(block);
    }
    blocks.truncate(blocks.len().saturating_sub(4));
    let readers: Vec<_> = (0..50).map(|_| input.read("large")).collect::<Result<_, _>>()?;
    for _ in 1..times {
        drop(content);
        content = input.get("large")?.content;
    }
    info!("held {} blocks, {} readers, {} bytes", blocks.len(), readers.len(), content.len());
    black_box((blocks, readers, content));
    Ok(())
}
