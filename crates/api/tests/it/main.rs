//! Tests of the public interface of `api`.
