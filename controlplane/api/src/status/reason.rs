//! Reasons of refusals, and the HTTP status code of each.

use serde::{Deserialize, Serialize};

/// Why a request was refused, as one word for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// 400: the request makes no sense.
    BadRequest,
    /// 401: it does not say who asks, or not believably.
    Unauthorized,
    /// 403: who asks may not.
    Forbidden,
    /// 404: there is no such object or path.
    NotFound,
    /// 405: it cannot be done with this resource.
    MethodNotAllowed,
    /// 406: nothing that is accepted can be answered.
    NotAcceptable,
    /// 409: an object of that name is there.
    AlreadyExists,
    /// 409: the object has changed since it was read.
    Conflict,
    /// 410: the history asked for is gone.
    Expired,
    /// 413: the body is too long.
    RequestEntityTooLarge,
    /// 415: the body is of a type that is not read.
    UnsupportedMediaType,
    /// 422: the object is not valid.
    Invalid,
    /// 429: too many requests.
    TooManyRequests,
    /// 500: the server failed.
    InternalError,
    /// 503: the server cannot answer now.
    ServiceUnavailable,
    /// 504: it took too long.
    Timeout,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Expired,
        Self::RequestEntityTooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::TooManyRequests,
        Self::InternalError,
        Self::ServiceUnavailable,
        Self::Timeout,
    ];

    /// HTTP status code.
    pub const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }
}
