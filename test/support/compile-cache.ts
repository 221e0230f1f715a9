// Vitest forbids it where coverage is measured, also to what tests start: of that none is measured, and it starts in half the time.
delete process.env.NODE_DISABLE_COMPILE_CACHE
