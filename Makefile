# Common tasks. `make` alone lists them.

PREFIX = /usr/local
DESTDIR =
# Arguments of `rtcomm demo` for `make demo`.
ARGS =
# Tests at a time. Most of them wait for servers and clocks, so this is more than the number of processors.
TEST_THREADS = $(shell expr 3 '*' $$(getconf _NPROCESSORS_ONLN))
# Tests that `make test-cluster` runs; all if empty.
TESTS =

CARGO = cargo
INSTALL = install
TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
BINARY = $(TARGET_DIR)/release/rtcomm
# Packages and archives.
DIST = $(TARGET_DIR)/dist

bindir = $(PREFIX)/bin
mandir = $(PREFIX)/share/man/man1
bashdir = $(PREFIX)/share/bash-completion/completions
zshdir = $(PREFIX)/share/zsh/site-functions
fishdir = $(PREFIX)/share/fish/vendor_completions.d

MANPAGES = $(notdir $(wildcard man/*.1))
SOURCES = Cargo.toml Cargo.lock $(wildcard man/* completions/*) $(shell find src -name '*.rs')

# Release builds are reproducible: the same sources give the same bytes, in any folder and at any time. So the program contains
# no path of the machine that built it (Cargo's folder, this one, and that of the standard library's sources), and the time is
# that of the version in CHANGELOG.md. Cargo separates flags with US (0x1f), because paths may contain spaces.
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
RELEASED = $(shell sed -n 's/^\#\# \[$(VERSION)\] - //p' CHANGELOG.md)
US := $(shell printf '\037')
EMPTY :=
SPACE := $(EMPTY) $(EMPTY)
RUST_SOURCES = $(shell rustc --print sysroot)/lib/rustlib/src/rust=/rustc/$(shell rustc -vV | sed -n 's/^commit-hash: //p')
REMAP = --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo$(US)--remap-path-prefix=$(CURDIR)=/rtcomm$(US)$\
    --remap-path-prefix=$(RUST_SOURCES)
build bench dist deb: export SOURCE_DATE_EPOCH := $(shell date -u -d '$(RELEASED)' +%s 2>/dev/null)
build bench dist deb: export CARGO_ENCODED_RUSTFLAGS = $(if $(RUSTFLAGS),$(subst $(SPACE),$(US),$(RUSTFLAGS))$(US))$(REMAP)

# Servers such as mosquitto are in directories that a user's PATH may not have.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

.PHONY: help deps deps-rust deps-build deps-test deps-bench deps-deb demo test test-faults test-cluster sanitize bench build \
    install uninstall dist deb check-deb check-reproducible man clean

help:
	@echo 'make demo       build, then run an embedded broker with a simulated Rtcomm server'
	@echo 'make test       run all tests but the slow ones (TEST_THREADS=$(TEST_THREADS))'
	@echo 'make test-faults  run the slow fault tests: kills, bad networks, long runs'
	@echo 'make test-cluster  run tests with three broker nodes, one of which is killed or frozen'
	@echo 'make sanitize   run unit, malformed and hostile tests with the C code under AddressSanitizer'
	@echo 'make bench      build, then compare with other programs, and print a table'
	@echo 'make build      build $(BINARY)'
	@echo 'make install    install program, man pages and completions (PREFIX=$(PREFIX) DESTDIR=)'
	@echo 'make uninstall  remove the installed files'
	@echo 'make deb        make a Debian package in $(DIST)'
	@echo 'make check-deb  make the package, and check it with lintian'
	@echo 'make dist       make archives of the sources and of the program in $(DIST), with checksums'
	@echo 'make check-reproducible  build in two folders, and compare the programs'
	@echo 'make deps       install missing packages for the build'
	@echo 'make deps-test  install missing packages for the tests'
	@echo 'make deps-bench install missing packages for the benchmark'
	@echo 'make deps-deb   install missing packages for the Debian package'
	@echo 'make man        refresh man/ and completions/ from the command-line definition'
	@echo 'make clean      remove build results'

deps: deps-rust deps-build

# Each need is PROGRAM:PACKAGE, the Debian package with the program.
deps-build:
	$(call need,cc:build-essential make:build-essential cmake:cmake pkg-config:pkg-config libssl:libssl-dev)

deps-test:
	$(call need,mosquitto:mosquitto mosquitto_pub:mosquitto-clients mosquitto_sub:mosquitto-clients jq:jq \
	    script:bsdutils unshare:util-linux ip:iproute2 faketime:faketime nats-server:nats-server man:man-db)

deps-bench:
	$(call need,mosquitto:mosquitto mosquitto_sub:mosquitto-clients mosquitto_rr:mosquitto-clients jq:jq rg:ripgrep hyperfine:hyperfine)

deps-deb:
	$(call need,dpkg-deb:dpkg dpkg-shlibdeps:dpkg-dev lintian:lintian)

# Prints nothing and uses no network if nothing is missing.
define need
	@set -eu; missing=; \
	for need in $(1); do \
	    program=$${need%%:*} package=$${need#*:}; \
	    case $$program in \
	        libssl) pkg-config --exists openssl 2>/dev/null || test -n "$${OPENSSL_DIR:-}" ;; \
	        *) command -v "$$program" >/dev/null ;; \
	    esac && continue; \
	    case " $$missing " in *" $$package "*) ;; *) missing="$${missing:+$$missing }$$package" ;; esac; \
	done; \
	test -n "$$missing" || exit 0; \
	if ! command -v apt-get >/dev/null; then \
	    echo "Missing: $$missing (these are Debian's names). Install them with this system's package manager." >&2; \
	    exit 1; \
	fi; \
	root=; \
	if test "$$(id -u)" != 0; then \
	    if ! command -v sudo >/dev/null; then \
	        echo "Missing: $$missing. As root, run: apt-get install $$missing" >&2; \
	        exit 1; \
	    fi; \
	    root=sudo; \
	fi; \
	echo "Installing with apt-get: $$missing" >&2; \
	$$root env DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null; \
	$$root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends $$missing </dev/null >&2
endef

deps-rust:
	@set -eu; \
	wanted=$$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml); \
	advice="Get it with rustup (on Ubuntu: apt-get install rustup && rustup default stable), or from this system's packages."; \
	if ! command -v $(CARGO) >/dev/null; then \
	    echo "Missing: cargo, Rust $$wanted or newer. $$advice" >&2; \
	    exit 1; \
	fi; \
	found=$$($(CARGO) --version | sed 's/^cargo \([0-9.]*\).*/\1/'); \
	if test "$$(printf '%s\n' "$$wanted" "$$found" | sort -V | head -n 1)" != "$$wanted"; then \
	    echo "Rust $$found is too old: this needs $$wanted or newer. $$advice" >&2; \
	    exit 1; \
	fi

demo: build
	$(BINARY) demo $(ARGS)

# GCC instruments the C code (the MQTT library, zstd) and replaces malloc; the Rust code has no unsafe blocks. libasan is linked
# as a whole and statically, because the runtime must come before libc and rustc passes -nodefaultlibs. With --target, the flags
# apply neither to build scripts nor to macros. SANITIZE_TESTS chooses tests with nextest's or libtest's substrings.
SANITIZE_TARGET = $(shell rustc -vV | sed -n 's/^host: //p')
SANITIZE_TESTS = malformed:: hostile::
sanitize: deps deps-test
	set -eu; \
	export CFLAGS_$(subst -,_,$(SANITIZE_TARGET))='-fsanitize=address -fno-omit-frame-pointer -g'; \
	export RUSTFLAGS='-C link-arg=-Wl,--push-state,--whole-archive,-Bstatic,-lasan,--pop-state -C link-arg=-lstdc++ -C link-arg=-lm'; \
	export ASAN_OPTIONS=detect_leaks=0; \
	test="$(CARGO) test --locked --target $(SANITIZE_TARGET) --target-dir $(TARGET_DIR)/sanitize"; \
	$$test --lib; \
	$$test --test it -- --test-threads 4 $(SANITIZE_TESTS)

# nextest runs the tests of all programs at the same time. It does not run documentation tests.
NEXTEST = $(if $(shell $(CARGO) nextest --version 2>/dev/null),$(CARGO) nextest run --locked)

test: deps deps-test
	$(if $(NEXTEST),$(NEXTEST) --test-threads $(TEST_THREADS) && $(CARGO) test --locked --doc,$\
	    RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test --locked)

# $(call run_ignored,PROGRAM,THREADS,NAMES) runs tests that take longer than some seconds, and shows what they measure.
run_ignored = $(if $(NEXTEST),$\
    $(NEXTEST) --test $1 --run-ignored only --success-output immediate --test-threads $2 $3,$\
    $(CARGO) test --locked --test $1 -- --ignored --nocapture --test-threads $2 $3)

test-faults: deps deps-test
	$(call run_ignored,faults,$(TEST_THREADS))

# A distributed engine: nats-server nodes on loopback addresses. Each test has three.
test-cluster: deps deps-test
	$(call run_ignored,cluster,3,$(TESTS))

# Touch the file: cargo does not if it is up to date.
build: deps
	$(CARGO) build --release --locked
	@touch $(BINARY)

$(BINARY): $(SOURCES)
	@$(MAKE) build

# Builds only if the program is older than its sources, so root does not need cargo.
install: $(BINARY)
	$(INSTALL) -d $(DESTDIR)$(bindir) $(DESTDIR)$(mandir) $(DESTDIR)$(bashdir) $(DESTDIR)$(zshdir) $(DESTDIR)$(fishdir)
	$(INSTALL) -m 755 $(BINARY) $(DESTDIR)$(bindir)/rtcomm
	$(INSTALL) -m 644 $(addprefix man/,$(MANPAGES)) $(DESTDIR)$(mandir)
	$(INSTALL) -m 644 completions/rtcomm.bash $(DESTDIR)$(bashdir)/rtcomm
	$(INSTALL) -m 644 completions/_rtcomm $(DESTDIR)$(zshdir)/_rtcomm
	$(INSTALL) -m 644 completions/rtcomm.fish $(DESTDIR)$(fishdir)/rtcomm.fish

uninstall:
	rm -f $(DESTDIR)$(bindir)/rtcomm $(addprefix $(DESTDIR)$(mandir)/,$(MANPAGES))
	rm -f $(DESTDIR)$(bashdir)/rtcomm $(DESTDIR)$(zshdir)/_rtcomm $(DESTDIR)$(fishdir)/rtcomm.fish

deb: $(BINARY)
	$(call need,dpkg-deb:dpkg dpkg-shlibdeps:dpkg-dev)
	@packaging/deb $(BINARY) $(DIST)

check-deb: deps-deb deb
	lintian --fail-on error --info $(DIST)/rtcomm_$(VERSION)-1_*.deb

# The archives contain neither owners nor times of this machine.
TAR = tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@$$SOURCE_DATE_EPOCH --mode=go+rX,go-w
PLATFORM = $(shell rustc -vV | sed -n 's/^host: //p')
NAME = rtcomm-$(VERSION)
dist: $(BINARY)
	@set -eu; \
	tree=$$(mktemp -d); trap 'rm -rf "$$tree"' EXIT; \
	mkdir -p $(DIST); \
	git archive --format=tar --prefix=$(NAME)/ HEAD | gzip -9n > $(DIST)/$(NAME).tar.gz; \
	$(MAKE) --silent install DESTDIR="$$tree/$(NAME)" PREFIX=; \
	cp README.md CHANGELOG.md LICENSE "$$tree/$(NAME)"; \
	$(TAR) -C "$$tree" -c $(NAME) | gzip -9n > $(DIST)/$(NAME)-$(PLATFORM).tar.gz; \
	cd $(DIST); \
	sha256sum $(NAME).tar.gz $(NAME)-$(PLATFORM).tar.gz | tee SHA256SUMS

# Two release builds take some minutes.
check-reproducible: deps
	@set -eu; \
	tree=$$(mktemp -d); trap 'rm -rf "$$tree"' EXIT; \
	for folder in one "another folder"; do \
	    mkdir "$$tree/$$folder"; \
	    git archive --format=tar HEAD | tar -x -C "$$tree/$$folder"; \
	    (cd "$$tree/$$folder" && env -u CARGO_TARGET_DIR $(MAKE) --silent build); \
	done; \
	cmp "$$tree/one/target/release/rtcomm" "$$tree/another folder/target/release/rtcomm"; \
	if grep -a -o -F -e "$$tree" -e "$$HOME/" "$$tree/one/target/release/rtcomm"; then exit 1; fi; \
	echo 'The programs are equal, and contain no path of this machine.'


# With UPDATE=1, the tests that compare these files write them.
man: deps
	UPDATE=1 $(CARGO) test --locked --test it -- docs::generated

# RTCOMM_BENCH_SCALE=0.05 makes a quick run; see benches/README.md.
bench: build deps-bench
	$(CARGO) run --quiet --release --locked --example end_to_end

clean:
	$(CARGO) clean
