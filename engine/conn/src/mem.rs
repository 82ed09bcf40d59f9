//! The one place of the connection table that speaks to the machine: cache lines that will be needed soon, and sixteen
//! comparisons at once.
#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::sync::atomic::AtomicU32;

use rustix::mm::{Advice, madvise};
use zerocopy::FromZeros;

/// What huge pages are big, and aligned to.
const HUGE_PAGE: usize = 2 << 20;

/// The largest that other pages are: what lies between these is given as it is written, some tens of small pages.
const PAGE: usize = 64 << 10;

/// Zeroed memory in huge pages, so that a random access seldom waits for a page table. The kernel gives them if it has them
/// and may (`/sys/kernel/mm/transparent_hugepage/enabled`), but only if it is asked before the memory is first written. That
/// happens here: an allocator zeroes by hand what is to be aligned to more than it aligns by itself.
pub fn zeroed_in_huge_pages<T: FromZeros>(length: usize) -> Box<[T]> {
    let mut memory = Box::<[T]>::new_uninit_slice(length);
    advise(&memory, HUGE_PAGE, Advice::LinuxHugepage);
    // SAFETY: all of it is written, and zeros are a value of `T`.
    unsafe {
        memory.as_mut_ptr().write_bytes(0, length);
        memory.assume_init()
    }
}

/// Asks for small pages under memory that is taken while packets wait for it: a huge page is zeroed before it is given,
/// which takes a tenth of a millisecond, and where the kernel gives them to all it gives them to this, too.
pub fn refuse_huge_pages<T>(memory: &mut [T]) {
    advise(memory, PAGE, Advice::LinuxNoHugepage);
}

/// Has the kernel give all of this memory now, so that no packet waits for a page to be zeroed. What is in it stays, and
/// others may use it all the while. Kernels before 5.14 do not know how, and give it as it is written.
pub fn populate<T>(memory: &[T]) {
    advise(memory, PAGE, Advice::LinuxPopulateWrite);
}

/// Tells the kernel about the pages of this size that lie within `memory`.
fn advise<T>(memory: &[T], page: usize, advice: Advice) {
    let range = memory.as_ptr_range();
    let start = range.start.addr().next_multiple_of(page);
    let end = range.end.addr() / page * page;
    if start < end {
        let first = range.start.with_addr(start).cast_mut().cast();
        // SAFETY: the pages lie within `memory`, and none of the advice that is given here changes what is in them.
        // Whether it is followed only shows in time, so the outcome does not matter.
        let _ = unsafe { madvise(first, end - start, advice) };
    }
}

/// Zeroed memory, of which the kernel gives a page when it is first written.
pub fn zeroed<T: FromZeros>(length: usize) -> Box<[T]> {
    T::new_vec_zeroed(length)
        // As the standard library does when there is no memory for a vector.
        .unwrap_or_else(|_| {
            handle_alloc_error(Layout::array::<T>(length).unwrap_or(Layout::new::<T>()))
        })
        .into_boxed_slice()
}

/// Asks for the cache line of `value`, so that it is there when it is needed.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program could see, and `value` is a live reference anyway.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(target_arch = "aarch64")]
    {
        // SAFETY: as above.
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) std::ptr::from_ref(value), options(nostack, readonly, preserves_flags));
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = value;
}

/// Which of sixteen 16-bit words equal `word`, as a bit set; the first word is bit 0.
#[inline(always)]
pub fn equal_words(words: &[u8; 32], word: u16) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{
            _mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16,
        };
        let pointer = words.as_ptr();
        // SAFETY: both halves of `words` are readable, the loads need no alignment, and every x86-64 has SSE2.
        unsafe {
            let wanted = _mm_set1_epi16(word.cast_signed());
            let low = _mm_cmpeq_epi16(_mm_loadu_si128(pointer.cast()), wanted);
            let high = _mm_cmpeq_epi16(_mm_loadu_si128(pointer.add(16).cast()), wanted);
            _mm_movemask_epi8(_mm_packs_epi16(low, high)).cast_unsigned()
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let mut equal = 0;
        for (at, other) in words.as_chunks::<2>().0.iter().enumerate() {
            equal |= u32::from(u16::from_ne_bytes(*other) == word) << at;
        }
        equal
    }
}

/// Which of sixteen words have the same of these `bits` as `word`, as a bit set; the first word is bit 0. Others may be
/// writing: each word is as some relaxed load would have found it.
#[inline(always)]
pub fn equal_bits(words: &[AtomicU32; 16], word: u32, bits: u32) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::asm;
        use std::arch::x86_64::{
            __m128i, _mm_and_si128, _mm_cmpeq_epi32, _mm_movemask_epi8, _mm_packs_epi16,
            _mm_packs_epi32, _mm_set1_epi32,
        };
        let (first, second, third, fourth): (__m128i, __m128i, __m128i, __m128i);
        // SAFETY: the 64 bytes are readable, and the loads need no alignment. No load of several words may meet a store in
        // Rust's own memory model, so these are the machine's, which loads every aligned word of them as a whole. That is
        // what relaxed loads of them all, in some order, would do.
        unsafe {
            asm!(
                "movdqu {first}, [{words}]",
                "movdqu {second}, [{words} + 16]",
                "movdqu {third}, [{words} + 32]",
                "movdqu {fourth}, [{words} + 48]",
                words = in(reg) words.as_ptr(),
                first = out(xmm_reg) first,
                second = out(xmm_reg) second,
                third = out(xmm_reg) third,
                fourth = out(xmm_reg) fourth,
                options(nostack, readonly, preserves_flags),
            );
        }
        // SAFETY: every x86-64 has SSE2.
        unsafe {
            let bits = _mm_set1_epi32(bits.cast_signed());
            let wanted = _mm_and_si128(_mm_set1_epi32(word.cast_signed()), bits);
            let equal = |four| _mm_cmpeq_epi32(_mm_and_si128(four, bits), wanted);
            let low = _mm_packs_epi32(equal(first), equal(second));
            let high = _mm_packs_epi32(equal(third), equal(fourth));
            _mm_movemask_epi8(_mm_packs_epi16(low, high)).cast_unsigned()
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    {
        use std::sync::atomic::Ordering;
        let mut equal = 0;
        for (at, other) in words.iter().enumerate() {
            let differs = (other.load(Ordering::Relaxed) ^ word) & bits;
            equal |= u32::from(differs == 0) << at;
        }
        equal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_its_bit() {
        for at in 0..16 {
            let mut words = [0; 32];
            words[2 * at..2 * at + 2].copy_from_slice(&0xabcd_u16.to_ne_bytes());
            assert_eq!(equal_words(&words, 0xabcd), 1 << at);
            assert_eq!(equal_words(&words, 0), 0xffff & !(1 << at));
            assert_eq!(equal_words(&words, 0xab), 0);
        }
    }

    #[test]
    fn words_are_equal_where_some_bits_of_them_are() {
        for at in 0..16 {
            let mut words: [AtomicU32; 16] = Default::default();
            *words[at].get_mut() = 0xabcd_0007;
            assert_eq!(equal_bits(&words, 0xabcd_0000, 0xffff_fff0), 1 << at);
            assert_eq!(equal_bits(&words, 0xabcd_0001, u32::MAX), 0);
            assert_eq!(equal_bits(&words, 5, 0xffff_fff0), 0xffff & !(1 << at));
        }
    }
}
