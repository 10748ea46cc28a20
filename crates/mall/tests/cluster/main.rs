//! The mall in a real Kubernetes: the overlay `kind` in the cluster that the variable KUBECTL names, as `make cluster-test`
//! runs it. Shoppers go through without pause while services roll, scale and are killed, and none of them may notice.
//!
//! All tests share the one mall, so each waits for the others. Processes are killed on this machine, where the nodes are.

mod admission;
mod deploy;
mod disturb;
mod faults;
mod keys;
mod kubectl;
mod load;
mod policies;
mod rolling;
