//! Coefficients. Source: RFC 6386, 13.

use crate::bools::Bools;
use crate::header::Tokens;
use crate::tables::Token;

/// The place in a block of each coefficient (13).
const ZIGZAG: [u8; 16] = [0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15];

/// Coefficients of a block of 4 x 4, row by row. Products with factors are kept in 16 bits (14.1).
pub(crate) type Block = [i16; 16];

/// Reads a block's coefficients from `first` on, into a block of zeros. Returns the place where they end: 16, or that
/// of the token for the end.
pub(crate) fn read(
    bools: &mut Bools,
    tokens: &Tokens,
    context: usize,
    first: usize,
    factors: [i32; 2],
    block: &mut Block,
) -> usize {
    // A copy, which stays in registers.
    let mut reader = *bools;
    let mut place = first;
    let mut token = &tokens[place][context];
    'tokens: while reader.read(token[0]) {
        while !reader.read(token[1]) {
            place += 1;
            if place == 16 {
                break 'tokens;
            }
            token = &tokens[place][0];
        }
        let next = &tokens[place + 1];
        let value = if reader.read(token[2]) {
            let value = large(&mut reader, token);
            token = &next[2];
            value
        } else {
            token = &next[1];
            1
        };
        let factor = factors[usize::from(place > 0)];
        block[usize::from(ZIGZAG[place]) & 15] = (reader.signed(value) * factor) as i16;
        place += 1;
        if place == 16 {
            break;
        }
    }
    *bools = reader;
    place
}

/// Reads a value of two or more.
#[inline(always)]
fn large(bools: &mut Bools, token: &Token) -> i32 {
    if !bools.read(token[3]) {
        if !bools.read(token[4]) { 2 } else { 3 + i32::from(bools.read(token[5])) }
    } else if !bools.read(token[6]) {
        if !bools.read(token[7]) { 5 + rest(bools, &[159]) } else { 7 + rest(bools, &[165, 145]) }
    } else {
        let (least, probabilities): (_, &[u8]) = if !bools.read(token[8]) {
            if !bools.read(token[9]) { (11, &[173, 148, 140]) } else { (19, &[176, 155, 140, 135]) }
        } else if !bools.read(token[10]) {
            (35, &[180, 157, 141, 134, 130])
        } else {
            (67, &[254, 254, 243, 230, 196, 177, 153, 140, 133, 130, 129])
        };
        let (reader, more) = long_rest(*bools, probabilities);
        *bools = reader;
        least + more
    }
}

/// Reads by how much a value exceeds the least of its range.
#[inline(always)]
fn rest(bools: &mut Bools, probabilities: &[u8]) -> i32 {
    probabilities.iter().fold(0, |value, &probability| value << 1 | i32::from(bools.read(probability)))
}

/// The same where it is seldom needed, and takes the reader by value, so that it stays in registers elsewhere.
#[inline(never)]
fn long_rest<'a>(mut bools: Bools<'a>, probabilities: &[u8]) -> (Bools<'a>, i32) {
    let more = rest(&mut bools, probabilities);
    (bools, more)
}
