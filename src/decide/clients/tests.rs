//! Rankings of made-up clients: who comes first, who is told of by whom, and who stands out.
