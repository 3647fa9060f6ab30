//! Allocation and shared ownership.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::report::{Report, failed, fine};
use crate::{ensure, ensure_eq};

pub fn walk(report: &mut Report) {
    report.room("memory");
    report.step("16 MiB in one piece", || {
        let mut block = Vec::new();
        block.try_reserve_exact(16 << 20).map_err(failed)?;
        block.resize(16 << 20, 1_u8);
        let sum = block.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        ensure_eq!(sum, 16 << 20);
        fine()
    });
    report.step("grow and shrink", || {
        let mut list = Vec::new();
        for i in 0..200_000_u32 {
            list.push(i);
        }
        list.truncate(10);
        list.shrink_to_fit();
        ensure_eq!(list, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        fine()
    });
    report.step("alignment", || {
        for shift in 0..=16 {
            let layout = Layout::from_size_align(100, 1 << shift).map_err(failed)?;
            // SAFETY: the layout's size is not zero.
            let pointer = unsafe { alloc(layout) };
            ensure!(!pointer.is_null());
            let aligned = pointer.addr().is_multiple_of(layout.align());
            // SAFETY: allocated above with this layout, not used after this.
            unsafe { dealloc(pointer, layout) };
            ensure!(aligned);
        }
        fine()
    });
    report.step("zeroed memory", || {
        let layout = Layout::array::<u64>(1 << 16).map_err(failed)?;
        for _ in 0..4 {
            // SAFETY: the layout's size is not zero.
            let pointer = unsafe { alloc_zeroed(layout) }.cast::<u64>();
            ensure!(!pointer.is_null());
            // SAFETY: zeroed memory of that many numbers, valid until it is given back below.
            let numbers = unsafe { std::slice::from_raw_parts_mut(pointer, 1 << 16) };
            let zero = numbers.iter().all(|&number| number == 0);
            numbers.fill(u64::MAX);
            // SAFETY: allocated above with this layout, not used after this.
            unsafe { dealloc(pointer.cast(), layout) };
            ensure!(zero);
        }
        fine()
    });
    report.step("more memory than there is", || {
        let mut block = Vec::<u8>::new();
        ensure!(block.try_reserve(isize::MAX as usize).is_err());
        ensure!(block.try_reserve(usize::MAX).is_err());
        fine()
    });
    report.step("Rc, RefCell, Arc, Weak", || {
        let cell = Rc::new(RefCell::new(vec![1]));
        Rc::clone(&cell).borrow_mut().push(2);
        ensure_eq!(cell.borrow().len(), 2);
        ensure!(cell.try_borrow_mut().is_ok());
        let shared = Arc::new(5);
        let weak = Arc::downgrade(&shared);
        ensure_eq!(weak.upgrade().as_deref(), Some(&5));
        drop(shared);
        ensure!(weak.upgrade().is_none());
        fine()
    });
    report.step("trait objects and closures", || {
        let things: Vec<Box<dyn Any>> = vec![Box::new(1_u8), Box::new("text"), Box::new(2_u8)];
        let bytes = things.iter().filter_map(|thing| thing.downcast_ref::<u8>()).sum::<u8>();
        ensure_eq!(bytes, 3);
        let adders = [1, 2].map(|a| move |b: i32| a + b);
        let boxed: Vec<Box<dyn Fn(i32) -> i32>> =
            adders.into_iter().map(|f| Box::new(f) as _).collect();
        ensure_eq!(boxed.iter().fold(3, |sum, add| add(sum)), 6);
        fine()
    });
}
