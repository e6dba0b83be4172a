//! What the allocator keeps of memory that was freed.

/// Gives back what it keeps: after a burst it's some megabytes, in pieces between what is still used, which glibc gives
/// back only when it's told to. Other allocators do it by themselves, or can't.
pub(crate) fn trim() {
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
