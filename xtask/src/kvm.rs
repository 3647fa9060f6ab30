//! Whether KVM is any good here.

/// Whether /dev/kvm runs ring-0 code with vector instructions at a processor's speed.
pub fn works() -> bool {
    false
}
