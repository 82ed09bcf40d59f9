//! A header where it lies among a frame's bytes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The header at `offset` of `frame`, if that holds all of it. Its end is compared once: of a part of the frame's that begins
/// at `offset`, both its beginning and its length would be.
#[inline(always)]
pub fn at<T>(frame: &[u8], offset: usize) -> Option<&T>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    let end = offset.checked_add(size_of::<T>())?;
    T::ref_from_bytes(frame.get(offset..end)?).ok()
}

/// [`at`], to be changed.
#[inline(always)]
pub fn at_mut<T>(frame: &mut [u8], offset: usize) -> Option<&mut T>
where
    T: FromBytes + IntoBytes + KnownLayout + Unaligned,
{
    let end = offset.checked_add(size_of::<T>())?;
    T::mut_from_bytes(frame.get_mut(offset..end)?).ok()
}
