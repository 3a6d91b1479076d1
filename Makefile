# Makefile - remembers the commands; how things are built stands in CMakeLists.txt.
#
#   make              the release: build/ram and build/libram.a
#   make demo         quantises examples/tiny-qwen3 and shows what came out
#   make test         every test that needs no network
#   make install      [PREFIX=/usr/local] [DESTDIR=]
#   make oracles      published figures beside ours
#   make interop      our output in stock mlx_lm, our figures beside torch's (needs PyPI)
#   make bench        speed, as ratios
#   make quality      what the budget method is worth, beside its rivals (hours with mlx_lm)
#   make asan, tsan   the tests under sanitizers
#   make fuzz         every fuzz target for FUZZ_SECONDS (60) each
#   make layers       who may include whom, headers that stand alone, names of symbols
#   make format, tidy, clean

JOBS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
CMAKE_FLAGS ?=
CTEST_FLAGS ?= --output-on-failure -j$(JOBS)
DEMO_OUT = out/demo
# Models that `make quality` measures; empty: the three reference models.
QUALITY_MODELS ?=
# What only makes input for a benchmark is not one.
BENCHES = $(filter-out bench_make_%, $(patsubst bench/%.c,bench_%,$(wildcard bench/*.c)))

# CMake and ctest read their own variables; ours must not leak into what make passes down.
MAKEFLAGS += --no-print-directory

.PHONY: all setup configure demo test install oracles interop bench quality asan tsan fuzz layers \
	format tidy clean

all: configure
	@cmake --build build -j$(JOBS) --target ram ram_static example_quantize

setup:
	@sh tools/setup.sh

configure: setup
	@mkdir -p build
	@cmake --preset release -G "Unix Makefiles" $(CMAKE_FLAGS) >build/configure.log 2>&1 \
		|| { cat build/configure.log; exit 1; }

demo: all
	@sh tools/demo.sh build/ram $(DEMO_OUT)

test: configure
	@cmake --build build -j$(JOBS)
	@ctest --test-dir build $(CTEST_FLAGS)

install: configure
	@cmake --preset release -DCMAKE_INSTALL_PREFIX=$(PREFIX) >/dev/null
	@cmake --build build -j$(JOBS) --target ram ram_static
	@cmake --install build

oracles: configure
	@cmake --build build -j$(JOBS) --target test_oracles
	@RAM_SOURCE=$(CURDIR) build/test_oracles --table

interop: all
	@sh tools/setup.sh interop
	@RAM=$(CURDIR)/build/ram sh tests/interop/run.sh

bench: all
	@cmake --build build -j$(JOBS) --target $(BENCHES)
	@for bench in $(BENCHES); do echo "== $$bench"; build/$$bench || exit 1; done

quality: all
	@sh tools/setup.sh quality
	@sh tools/quality.sh build/ram out/quality $(QUALITY_MODELS)

asan tsan: setup
	@cmake --preset $@ -G "Unix Makefiles" $(CMAKE_FLAGS) >/dev/null
	@cmake --build build-$@ -j$(JOBS)
	@ctest --test-dir build-$@ $(CTEST_FLAGS)

fuzz:
	@sh tools/setup.sh fuzz
	@cmake --preset fuzz -G "Unix Makefiles" $(CMAKE_FLAGS) >/dev/null
	@sh tools/fuzz.sh build-fuzz $(FUZZ_SECONDS) $(JOBS)

layers: all
	@sh tools/check_layers.sh
	@sh tools/check_headers.sh
	@sh tools/check_symbols.sh build/libram.a

format:
	@sh tools/setup.sh format
	@find cli src include tests bench examples -name '*.[ch]' | xargs clang-format-14 -i

tidy:
	@sh tools/setup.sh tidy
	@cmake --preset dev -G "Unix Makefiles" >/dev/null
	@find cli src -name '*.c' | xargs -P$(JOBS) -n4 clang-tidy --quiet -p build-dev

clean:
	@rm -rf build build-dev build-asan build-tsan build-fuzz out
