//! What a client asks of an executor, as values. Their bytes are in [`crate::codec`]; their meaning, and who owes what, in `proto/README.md`.

use bytes::Bytes;

/// Storage id: 64 bits, chosen by the client, never reused, of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorageId(pub u64);

/// Number of a signature, chosen by the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SignatureId(pub u32);

/// Number of a request that is owed a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Number of a bulk transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransferId(pub u64);

/// A tensor's metadata without its storage. Sizes and strides count elements and have equal length.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorMeta {
    /// `c10::ScalarType`.
    pub dtype: u8,
    /// [`WRAPPED`] | [`CONJUGATE`] | [`NEGATIVE`].
    pub flags: u8,
    /// Sizes.
    pub sizes: Vec<i64>,
    /// Strides.
    pub strides: Vec<i64>,
}

/// The tensor is a wrapped Python number (takes no part in type promotion).
pub const WRAPPED: u8 = 1;
/// The conjugate bit is set.
pub const CONJUGATE: u8 = 2;
/// The negative bit is set.
pub const NEGATIVE: u8 = 4;

/// A tensor: a window over a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Whose bytes.
    pub storage: StorageId,
    /// In elements.
    pub offset: i64,
    /// Shape.
    pub meta: TensorMeta,
}

/// Bit of a [`Arg::CpuScalar`]'s dtype: the scalar is a wrapped Python number (takes no part in type promotion).
pub const WRAPPED_SCALAR: u8 = 0x80;

/// One argument of a signature. `Float`, `Complex`, `Tensor` and `CpuScalar` are places filled by each call, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Arg {
    /// `None`.
    None,
    /// Takes the next (storage, offset).
    Tensor(TensorMeta),
    /// A 0-dim CPU tensor of this dtype, with [`WRAPPED_SCALAR`] where it is one; takes the next 16 bytes of scalars.
    CpuScalar(u8),
    /// Integer, dtype, layout or memory format.
    Int(i64),
    /// Boolean.
    Bool(bool),
    /// Takes the next float.
    Float,
    /// A float that is part of the signature.
    FloatConst(f64),
    /// Takes the next two floats.
    Complex,
    /// `int[]`.
    Ints(Vec<i64>),
    /// `float[]`.
    Floats(Vec<f64>),
    /// `bool[]`.
    Bools(Vec<bool>),
    /// `str`.
    Text(String),
    /// The leased device.
    Device,
    /// The CPU beside it.
    CpuDevice,
    /// The device's generator; the call carries (seed, count).
    Generator,
    /// `Tensor[]`, `Tensor?[]` or `Scalar[]`.
    List(Vec<Arg>),
}

/// One return of a signature, as the client assumes it.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A new storage of `bytes`; ids count up from the call's `first_output`.
    Fresh {
        /// Size of the storage.
        bytes: u64,
        /// Assumed shape.
        meta: TensorMeta,
    },
    /// A view of tensor slot `slot`'s storage.
    Alias {
        /// Tensor slot.
        slot: u32,
        /// In elements.
        offset: i64,
        /// Shape.
        meta: TensorMeta,
    },
    /// Argument number `position` itself.
    Argument(u32),
    /// An undefined tensor (or none).
    Undefined,
    /// `Tensor[]`.
    List(Vec<Output>),
}

/// A tensor slot that an `out=` or in-place call resizes, and the shape it then has.
#[derive(Debug, Clone, PartialEq)]
pub struct Resized {
    /// Tensor slot.
    pub slot: u32,
    /// Shape after the call.
    pub meta: TensorMeta,
}

/// Operator, argument metadata, constants and assumed outputs: everything about a call that repeats.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// `aten::add`.
    pub name: String,
    /// `Tensor`, or empty.
    pub overload: String,
    /// In schema order, complete.
    pub args: Vec<Arg>,
    /// One per return; empty in [`Command::CallNow`].
    pub outputs: Vec<Output>,
    /// What changes shape.
    pub resized: Vec<Resized>,
    /// Each call carries (seed, count).
    pub random: bool,
    /// `c10::ScalarType` that kernels take where nothing else says one: the client's default at this call.
    pub default_dtype: u8,
    /// Positions of arguments that the client's schema says are written: all that an executor knows of an operator it cannot prepare.
    pub written: Vec<u32>,
}

/// What fills a signature's places.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CallArgs {
    /// Per tensor slot.
    pub views: Vec<(StorageId, i64)>,
    /// Per float; complex takes two.
    pub floats: Vec<f64>,
    /// Per CPU scalar, 16 bytes.
    pub scalars: Vec<[u8; 16]>,
    /// Of a random signature: the device's seed, and how many random operators ran before.
    pub random: Option<(u64, u64)>,
    /// Id of the first new storage, where there is one.
    pub first_output: Option<StorageId>,
}

/// Storage ids lie below this: above them is room for the ids of processes that attach later.
pub const STORAGE_IDS: u64 = 1 << 62;

/// A CallNow's new storages take ids from `first_output` up to this many.
pub const NOW_IDS: u64 = 4096;

/// One command of the stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Run an operator of a defined signature.
    Call {
        /// Which.
        signature: SignatureId,
        /// Its places.
        args: CallArgs,
    },
    /// Drop a storage.
    Free(StorageId),
    /// A new, uninitialised storage.
    Create {
        /// New id.
        storage: StorageId,
        /// Size.
        bytes: u64,
    },
    /// Change a storage's size, keeping the common prefix.
    Resize {
        /// Which.
        storage: StorageId,
        /// New size.
        bytes: u64,
    },
    /// Give a signature a number.
    Define(SignatureId, Box<Signature>),
    /// Drop a signature.
    Forget(SignatureId),
    /// Upload with the bytes in the stream.
    Write {
        /// Where to.
        view: View,
        /// Contiguous, in the view's logical order.
        data: Bytes,
    },
    /// Upload by reference.
    WriteBulk {
        /// Whose bytes come over `Upload`.
        transfer: TransferId,
        /// Where to.
        view: View,
        /// How many.
        bytes: u64,
    },
    /// Download in the stream.
    Read {
        /// Owed.
        request: RequestId,
        /// What.
        view: View,
    },
    /// Download over a connection of its own; holds the stream until `TransferDone`.
    ReadBulk {
        /// Owed.
        request: RequestId,
        /// Asked for by `Download`.
        transfer: TransferId,
        /// What.
        view: View,
        /// How many.
        bytes: u64,
    },
    /// Run an operator whose result shapes depend on values.
    CallNow {
        /// Owed.
        request: RequestId,
        /// Complete, without outputs.
        signature: Box<Signature>,
        /// Its places.
        args: CallArgs,
    },
    /// Owed `Done` or the first failure not yet reported.
    Sync(RequestId),
    /// Owed `Done` when the stream reaches it.
    Mark(RequestId),
    /// Name a storage.
    Label {
        /// Which.
        storage: StorageId,
        /// Shown in lists.
        name: String,
    },
}
