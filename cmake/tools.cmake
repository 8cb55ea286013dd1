# Builds the command-line tools with cargo and installs them, with completions for shells, as the component "tools".
#
# They are programs written in Rust: they hold the library and need neither libcouchstore.so nor headers.

file(GLOB tool_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/tools/src/bin/*.rs")
set(couchstore_tools)
set(tools_dir "${couchstore_rust_dir}/tools")
set(tool_programs)
foreach(source IN LISTS tool_sources)
  get_filename_component(tool "${source}" NAME_WE)
  list(APPEND couchstore_tools ${tool})
  list(APPEND tool_programs "${tools_dir}/${tool}")
endforeach()

couchstore_cargo_build(
  FOLDER "${tools_dir}"
  FILES ${couchstore_tools}
  ARGUMENTS build ${cargo_common_options} --package couchstore-tools --bins
  DEPENDS Cargo.toml Cargo.lock tools/Cargo.toml
  COMMENT "Building the tools")

# Completion scripts are printed by the tools themselves, which cannot run here if they are for another platform.
set(tool_completions)
set(tool_completions_dir)
if(NOT COUCHSTORE_CARGO_TARGET)
  set(tool_completions_dir "${CMAKE_INSTALL_DATADIR}")
  set(completions_dir "${couchstore_rust_dir}/completions")
  foreach(tool IN LISTS couchstore_tools)
    list(APPEND bash_completions "${completions_dir}/bash/${tool}")
    list(APPEND zsh_completions "${completions_dir}/zsh/_${tool}")
    list(APPEND fish_completions "${completions_dir}/fish/${tool}.fish")
  endforeach()
  set(tool_completions ${bash_completions} ${zsh_completions} ${fish_completions})
  list(JOIN couchstore_tools "|" tools_joined)
  add_custom_command(
    OUTPUT ${tool_completions}
    COMMAND "${CMAKE_COMMAND}" "-DTOOLS=${tools_joined}" "-DPROGRAMS=${tools_dir}"
            "-DFOLDER=${completions_dir}" -P "${CMAKE_CURRENT_SOURCE_DIR}/cmake/completions.cmake"
    DEPENDS ${tool_programs} "${CMAKE_CURRENT_SOURCE_DIR}/cmake/completions.cmake"
    COMMENT "Writing completion scripts"
    VERBATIM)
  install(FILES ${bash_completions} COMPONENT tools
    DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
  install(FILES ${zsh_completions} COMPONENT tools
    DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/site-functions")
  install(FILES ${fish_completions} COMPONENT tools
    DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d")
endif()
add_custom_target(couchstore_tools ALL DEPENDS ${tool_programs} ${tool_completions})

install(PROGRAMS ${tool_programs} DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT tools)
configure_file(cmake/Couchstore-tools.cmake.in Couchstore-tools.cmake @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/Couchstore-tools.cmake"
  DESTINATION "${couchstore_package_dir}"
  COMPONENT tools)
