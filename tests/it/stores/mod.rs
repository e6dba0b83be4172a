//! Stores: objects, whatever their size, headers, versions and keys.
//!
//! | module | shows |
//! |---|---|
//! | `large_object` | an object that is larger than the memory of host and guest |
//! | `odd_objects` | objects whose headers, versions and keys are not what one expects |
//! | `transfers` | calls that move much |

mod large_object;
mod odd_objects;
mod transfers;
