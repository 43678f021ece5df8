//! The engines: two for all containers of the process, each with a pool of instances, and epochs.
//!
//! WASI 0.3 needs wasmtime's concurrency, which costs each call of a guest and each of its host calls: without it a
//! request of WASI 0.2 takes a sixth less time (measured). So only the modules that need it run with it.
//!
//! Settings as measured: the pool keeps pages of ended instances and clears only what they touched
//! (`PAGEMAP_SCAN`), which makes a fresh instance for each request cheap.

use std::hash::{DefaultHasher, Hash, Hasher};

use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig};

use crate::places::{MEMORIES_A_PLACE, TABLES_A_PLACE};

/// How much memory a warm slot keeps from one instance to the next.
const KEPT_MEMORY_BYTES: usize = 2 * 1024 * 1024;
const KEPT_TABLE_BYTES: usize = 64 * 1024;
const KEPT_STACK_BYTES: usize = 32 * 1024;
/// How many ended instances leave warm slots behind.
const WARM_SLOTS_MAX: u32 = 64;
/// The largest memory of one instance: more than that is `OOMKilled` whatever its limit.
const INSTANCE_MEMORY_BYTES_MAX: usize = 4 << 30;
const STACK_BYTES: usize = 512 * 1024;
const WASM_STACK_BYTES_MAX: usize = 256 * 1024;
/// Core instances of one component: its own modules and the adapters between them. The pool only counts them.
const CORE_INSTANCES_A_COMPONENT: u32 = 16;
const MEMORIES_A_COMPONENT: u32 = 4;
const TABLES_A_COMPONENT: u32 = 16;

/// The engines of one runtime.
#[derive(Clone)]
pub(crate) struct Engines {
    /// Runs WASI 0.1 and 0.2.
    pub(crate) plain: Engine,
    /// Runs WASI 0.3.
    pub(crate) concurrent: Engine,
}

impl Engines {
    /// Each engine's pool holds `instances` at once.
    pub(crate) fn new(instances: u32) -> wasmtime::Result<Self> {
        Ok(Self { plain: engine(instances, false)?, concurrent: engine(instances, true)? })
    }

    /// Begins the next epoch.
    pub(crate) fn increment_epoch(&self) {
        self.plain.increment_epoch();
        self.concurrent.increment_epoch();
    }

    /// What compiled code is only good for together with: wasmtime's version, the machine, all settings.
    pub(crate) fn key(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.plain.precompile_compatibility_hash().hash(&mut hasher);
        self.concurrent.precompile_compatibility_hash().hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

fn engine(instances: u32, concurrent: bool) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_A_COMPONENT))
        .total_memories(instances.saturating_mul(MEMORIES_A_PLACE))
        .total_tables(instances.saturating_mul(TABLES_A_PLACE))
        .total_stacks(instances.saturating_mul(2))
        .total_gc_heaps(instances)
        .max_core_instances_per_component(CORE_INSTANCES_A_COMPONENT)
        .max_memories_per_component(MEMORIES_A_COMPONENT)
        .max_tables_per_component(TABLES_A_COMPONENT)
        .max_memory_size(INSTANCE_MEMORY_BYTES_MAX)
        .max_unused_warm_slots(WARM_SLOTS_MAX)
        .linear_memory_keep_resident(KEPT_MEMORY_BYTES)
        .table_keep_resident(KEPT_TABLE_BYTES)
        .async_stack_keep_resident(KEPT_STACK_BYTES)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .allocation_strategy(pool)
        .epoch_interruption(true)
        .async_stack_size(STACK_BYTES)
        .max_wasm_stack(WASM_STACK_BYTES_MAX)
        .wasm_component_model_async(concurrent)
        .concurrency_support(concurrent);
    Engine::new(&config)
}
