# A thin door to meson and tools/. `make` builds build/spurnd and build/spurn.
# After configuring with other options (meson configure build -D...), make keeps them.

BUILD = build

.PHONY: all test check demo bench fuzz fuzz-short soak corpus conformance install clean lint asan layers

all:
	@tools/configure $(BUILD)
	@ninja -C $(BUILD)

# The quick part: unit tests, dialogues, house rules.
test: all
	@meson test -C $(BUILD) --print-errorlogs

# Everything, in under 40 minutes.
check:
	@tools/check-all

asan:
	@tools/configure build-asan -Db_sanitize=address,undefined -Doptimization=1
	@ninja -C build-asan
	@meson test -C build-asan --print-errorlogs

lint:
	@tools/configure $(BUILD)
	@tools/lint $(BUILD)

layers:
	@tools/check-layers
	@tools/check-length
	@tools/check-paths

# Each fuzzer for some seconds; by the hour: make fuzz SECONDS_EACH=3600
fuzz-short:
	@tools/fuzz 10

SECONDS_EACH = 600
fuzz:
	@tools/fuzz $(SECONDS_EACH)

demo: all
	@tools/demo $(DEMO_ARGS)

bench: all
	@tools/bench

soak:
	@tools/soak $(HOURS)

corpus: all
	@tools/corpus

conformance: all
	@tools/conformance

install: all
	@meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD) build-asan build-fuzz
