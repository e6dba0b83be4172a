//! Stores: objects of any size, and their headers, versions and keys.
//!
//! | module | shows |
//! |---|---|
//! | `cache_control` | `Cache-Control` of objects, which stays with copies |
//! | `large_object` | an object larger than the memory of host and guest |
//! | `odd_objects` | objects with unusual headers, versions and keys |
//! | `transfers` | calls that move much data |

mod cache_control;
mod large_object;
mod odd_objects;
mod transfers;
