//! Memory that the allocator keeps after it was freed.

/// Returns freed memory to the system. After a burst the allocator holds some megabytes in pieces between live
/// allocations, which glibc releases only on request. Other allocators do so by themselves, or can't.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: the declaration is that of malloc_trim(3), which any thread may call at any time.
        #[expect(unsafe_code, reason = "no crate wraps it")]
        unsafe extern "C" {
            safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        malloc_trim(0);
    }
}
