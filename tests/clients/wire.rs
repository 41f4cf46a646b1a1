//! `grpc-hygiene clients` as people run it, against a server that answers its queries from the pages: what is asked,
//! printed, and how it ends.
