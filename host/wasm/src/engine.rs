//! The engines, each with what its guests may import; made when the first module needs them.
//!
//! What is instantiated for each request has a pool of instances, which keep slots for all that may ever live: megabytes of
//! indices, and memory maps by the thousand. A command is instantiated once, so a pool would gain it nothing: it gets its
//! memory and stack from the system.
//!
//! WASI 0.3 needs wasmtime's concurrency, which costs each call of a guest and each of its host calls: without it a
//! request of WASI 0.2 takes a sixth less time (measured). So only the modules that need it run with it. Code that runs
//! in a process with other pods' counts epochs; that of a process which the operating system limits and ends does not.
//!
//! Settings as measured: the pool keeps pages of ended instances and clears only what they touched
//! (`PAGEMAP_SCAN`), which makes a fresh instance for each request cheap.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig};

use crate::link;
use crate::places::{MEMORIES_A_PLACE, STACKS_A_CONCURRENT_PLACE, TABLES_A_PLACE};
use crate::state::{CoreState, State};

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

/// What code needs of its engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Needs {
    /// Instances from a pool.
    pub(crate) pool: bool,
    /// The engine for WASI 0.3.
    pub(crate) concurrent: bool,
    /// Epochs, at which it yields.
    pub(crate) epochs: bool,
}

/// An engine and what its guests may import.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) components: Linker<State>,
    pub(crate) core_modules: wasmtime::Linker<CoreState>,
}

/// The engines of one runtime.
pub(crate) struct Engines {
    /// In each pool.
    instances: u32,
    worlds: Mutex<HashMap<Needs, Arc<World>>>,
    /// Held while one is made.
    making: Mutex<()>,
}

impl Engines {
    /// None yet; each pool will have so many instances.
    pub(crate) fn new(instances: u32) -> Arc<Self> {
        Arc::new(Self { instances, worlds: Mutex::default(), making: Mutex::default() })
    }

    /// The engine for such code.
    pub(crate) fn world(&self, needs: Needs) -> wasmtime::Result<Arc<World>> {
        if let Some(world) = self.made(needs) {
            return Ok(world);
        }
        // A pool reserves a quarter of the address space: where many come at the same time, one makes it for all.
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(world) = self.made(needs) {
            return Ok(world);
        }
        let world = Arc::new(World::new(self.instances, needs)?);
        self.worlds().insert(needs, Arc::clone(&world));
        Ok(world)
    }

    fn made(&self, needs: Needs) -> Option<Arc<World>> {
        self.worlds().get(&needs).map(Arc::clone)
    }

    /// Begins the next epoch.
    pub(crate) fn increment_epoch(&self) {
        self.worlds().values().for_each(|world| world.engine.increment_epoch());
    }

    fn worlds(&self) -> MutexGuard<'_, HashMap<Needs, Arc<World>>> {
        self.worlds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    fn new(instances: u32, needs: Needs) -> wasmtime::Result<Self> {
        let engine = engine(instances, needs)?;
        let components =
            if needs.concurrent { link::concurrent_components(&engine)? } else { link::components(&engine)? };
        Ok(Self { components, core_modules: link::core_modules(&engine)?, engine })
    }
}

/// What tells whether a process runs the code that another compiles: the key of one engine stands for those of all.
pub(crate) fn release() -> wasmtime::Result<String> {
    key(Needs { pool: false, concurrent: true, epochs: true })
}

/// What compiled code is only good for together with: wasmtime's version, the machine, all settings.
pub(crate) fn key(needs: Needs) -> wasmtime::Result<String> {
    let mut hasher = DefaultHasher::new();
    engine(1, needs)?.precompile_compatibility_hash().hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

/// An engine; if it needs a pool, with one of so many instances.
pub(crate) fn engine(instances: u32, needs: Needs) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(needs.epochs)
        .async_stack_size(STACK_BYTES)
        .max_wasm_stack(WASM_STACK_BYTES_MAX)
        .wasm_component_model_async(needs.concurrent)
        .concurrency_support(needs.concurrent);
    if needs.pool {
        config.allocation_strategy(pool(instances, needs.concurrent));
    }
    Engine::new(&config)
}

fn pool(instances: u32, concurrent: bool) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_A_COMPONENT))
        .total_memories(instances.saturating_mul(MEMORIES_A_PLACE))
        .total_tables(instances.saturating_mul(TABLES_A_PLACE))
        .total_stacks(instances.saturating_mul(if concurrent { STACKS_A_CONCURRENT_PLACE } else { 1 }))
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
    pool
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn who_comes_at_the_same_time_shares_one_pool() {
        const INSTANCES: u32 = 4096;
        let (engines, needs) = (Engines::new(INSTANCES), Needs { pool: true, concurrent: false, epochs: true });
        let worlds: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| engines.world(needs).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(worlds.iter().all(|world| Arc::ptr_eq(world, &worlds[0])));
    }
}
