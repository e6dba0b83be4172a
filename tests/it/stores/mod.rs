//! Stores: objects of any size, and their headers, versions and keys.
//!
//! | module | shows |
//! |---|---|
//! | `large_object` | an object larger than the memory of host and guest |
//! | `odd_objects` | objects with unusual headers, versions and keys |
//! | `transfers` | calls that move much data |

mod large_object;
mod odd_objects;
mod transfers;
