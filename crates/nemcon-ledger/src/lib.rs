//! A bank's books: a double-entry ledger as a resource, its workloads and its conservation check
