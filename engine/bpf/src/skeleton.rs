//! The loaders that are generated from the programs.

/// Makes the module `skeleton` out of what was generated for a program.
macro_rules! skeleton {
    ($program:literal) => {
        #[allow(
            clippy::all,
            clippy::undocumented_unsafe_blocks,
            clippy::unwrap_used,
            missing_docs,
            unsafe_code,
            unused_qualifications
        )]
        mod skeleton {
            include!(concat!(env!("OUT_DIR"), "/", $program, ".skel.rs"));
        }
    };
}

pub(crate) use skeleton;
