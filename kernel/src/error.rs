//! Why a call of the kernel failed.

/// The reasons that the kernel's calls give. `std-shim` turns them into the numbers of errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The path, or a part of it, does not exist.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// A directory was asked for, or stands in the middle of the path, and it is none.
    NotADirectory,
    /// The operation is not for directories.
    IsADirectory,
    /// The directory still holds names.
    DirectoryNotEmpty,
    /// A name is longer than 255 bytes, or a path longer than 4095.
    NameTooLong,
    /// The descriptor is not open, or not open for this.
    BadDescriptor,
    /// All descriptors are in use.
    TooManyOpen,
    /// An argument has no meaning.
    InvalidArgument,
    /// Memory is short.
    OutOfMemory,
    /// The file system is full.
    NoSpace,
    /// The file system cannot be written to.
    ReadOnly,
    /// A file may not become that large.
    FileTooLarge,
    /// No seeking in a stream.
    NotSeekable,
    /// The operation would have to wait.
    WouldBlock,
    /// Nobody reads what is written.
    BrokenPipe,
    /// The time is over.
    TimedOut,
    /// The value was not as expected; the caller looks again.
    Changed,
    /// No thread has this identity.
    NoSuchThread,
    /// The file, or what it is used for, forbids it.
    PermissionDenied,
    /// Not for this kind of file: a second name for a directory.
    NotPermitted,
    /// Symbolic links lead to symbolic links, without end.
    Loop,
    /// In use.
    Busy,
    /// The two names are in different file systems.
    OtherDevice,
    /// There is no such device in this machine.
    NoDevice,
    /// The device has failed to do it.
    DeviceFailed,
    /// This kernel does not do it.
    Unsupported,
    /// The descriptor is no socket.
    NotASocket,
    /// The address is of a family that the socket is not for.
    FamilyNotSupported,
    /// The socket has no such option.
    NoSuchOption,
    /// Another socket has the address.
    AddressInUse,
    /// The address is none of this machine's.
    AddressNotAvailable,
    /// No network device is up.
    NetworkDown,
    /// No route leads there.
    NetworkUnreachable,
    /// The machine there, or the last router, does not answer.
    HostUnreachable,
    /// Nobody listens there.
    ConnectionRefused,
    /// The other side has ended the connection at once.
    ConnectionReset,
    /// The connection was ended before it was accepted.
    ConnectionAborted,
    /// The connection is being made.
    InProgress,
    /// The connection is being made, since an earlier call.
    AlreadyInProgress,
    /// There is a connection.
    AlreadyConnected,
    /// There is no connection.
    NotConnected,
    /// Nobody has said where to.
    DestinationRequired,
    /// One datagram cannot hold it.
    MessageTooLong,
}

/// A result with the kernel's error.
pub type Result<T, E = Error> = core::result::Result<T, E>;
