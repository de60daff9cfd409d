-- Statements -------------------------------------------------------------------------------------------------------

local function by_name(list, name)
   for _, one in ipairs(list) do
      if one.name == name then return one end
   end
end

local function supported_names(list)
   local names = {}
   for _, one in ipairs(list) do
      if one.kind ~= "unsupported" then names[#names + 1] = one.name end
   end
   return names
end

local function check_verb(first)
   local word = first.key or first.value
   local verb = not first.key and by_name(VERBS, word)
   if not verb then
      local names = supported_names(VERBS)
      local near = nearest(word, names)
      refuse(first.at, "E-DIR-VERB", "unknown verb '" .. word .. "'" .. (near and ", nearest is '" .. near .. "'" or ""),
         "start with one of " .. table.concat(names, ", "))
   elseif verb.kind == "unsupported" then
      refuse(first.at, "E-DIR-UNSUPPORTED", "'" .. word .. "' " .. LATER, "stage the data with 'in' instead")
   end
   return verb
end

local function check_key(at, verb, name, said)
   local key = by_name(verb.keys, name)
   local names = supported_names(verb.keys)
   local remedy = "'" .. verb.name .. "' takes " .. table.concat(names, ", ")
   if not key then
      local near = nearest(name, names)
      refuse(at, "E-DIR-KEY", "unknown key '" .. name .. "=' of '" .. verb.name .. "'" ..
         (near and ", nearest is '" .. near .. "='" or ""), remedy)
   elseif key.kind == "unsupported" then
      refuse(at, "E-DIR-UNSUPPORTED", "'" .. name .. "=' of '" .. verb.name .. "' " .. LATER, remedy)
   elseif said[name] then
      refuse(at, "E-DIR-DUPLICATE", "'" .. name .. "=' is said twice", "keep one of them")
   end
   return key
end

local function check_argument(at, verb, index, text)
   local argument = verb.arguments[index]
   if not argument then
      local names = supported_names(verb.keys)
      local near = nearest(text, names)
      refuse(at, "E-DIR-ARGUMENT", "'" .. text .. "' is one word too many for '" .. verb.name .. "'",
         near and "write " .. near .. "=..., without blanks"
         or "write options as key=value, with keys " .. table.concat(names, ", "))
   elseif argument.kind == "uri" then
      check_uri(at, text)
   else
      check_scratch_path(at, text)
   end
end

-- Checks one statement's words against the table; returns its arguments and its keys by name.
local function check_statement(words)
   local verb = check_verb(words[1])
   local arguments, said = {}, {}
   for i = 2, #words do
      local word = words[i]
      if word.key then
         local key = check_key(word.at, verb, word.key, said)
         check_value(word.value_at, key, word.value)
         said[word.key] = word
      else
         check_argument(word.at, verb, #arguments + 1, word.value)
         arguments[#arguments + 1] = word
      end
   end
   local missing = verb.arguments[#arguments + 1]
   if missing then
      refuse(words[1].at, "E-DIR-ARGUMENT", "'" .. verb.name .. "' has no " .. missing.name,
         "write it as in '" .. verb.example .. "'")
   end
   return verb, arguments, said
end

local function env_name(name)
   return (name:gsub("[.-]", "_"):upper())
end

local function variables_meet(a, b)
   local function is_variable_of(long, short)
      return starts_with(long, short .. "_") and contains(INPUT_VARIABLES, long:sub(#short + 2))
   end
   return a == b or is_variable_of(a, b) or is_variable_of(b, a)
end

local function refuse_duplicate(at, what, name, other, key)
   local text = name == other and "two " .. what .. " statements are named '" .. name .. "'"
      or what .. " names '" .. name .. "' and '" .. other .. "' give the same environment variable"
   refuse(at, "E-DIR-DUPLICATE", text, "give each its own " .. key)
end

local add = {}

function add.scratch(all, at, _, said)
   local name = said.name and said.name.value or DEFAULT_SCRATCH
   for _, other in ipairs(all.scratch) do
      if env_name(other) == env_name(name) then refuse_duplicate(at, "scratch", name, other, "name=") end
   end
   all.scratch[#all.scratch + 1] = name
end

add["in"] = function(all, at, arguments, said)
   local name = said.as and said.as.value or arguments[1].value:gsub("/$", ""):match("[^/]*$")
   if not is_name(name) then
      refuse(at, "E-DIR-NAME", "'" .. name .. "', the last part of the source, is not a name", "add as=NAME")
   end
   for _, other in ipairs(all.inputs) do
      if variables_meet(env_name(name), env_name(other)) then refuse_duplicate(at, "input", name, other, "as=") end
   end
   all.inputs[#all.inputs + 1] = name
end

function add.out(all, at, arguments)
   local destination = arguments[2].value
   if contains(all.destinations, destination) then
      refuse(at, "E-DIR-DUPLICATE", "two outputs go to '" .. destination .. "'", "give each its own destination")
   end
   all.destinations[#all.destinations + 1] = destination
   all.paths[#all.paths + 1] = arguments[1]
end

function add.opt(all, _, _, said, words)
   for i = 2, #words do
      local key = words[i].key
      if all.options[key] then
         refuse(words[i].at, "E-DIR-DUPLICATE", "'" .. key .. "=' is said twice", "keep one of them")
      end
      all.options[key] = said[key].value
   end
end

-- Reads everything a job asks for; raises the first thing that is wrong with it.
local function read_directives(script, option)
   local scanned = { bytes = 0 }
   scan_script(scanned, script)
   local from_script = #scanned
   scan_text(scanned, option, 0, 1)
   local all = { scratch = {}, inputs = {}, destinations = {}, paths = {}, options = {} }
   for _, words in ipairs(scanned) do
      local verb, arguments, said = check_statement(words)
      add[verb.name](all, words[1].at, arguments, said, words)
   end
   for _, path in ipairs(all.paths) do
      local scratch = path.value:match("^[^:]*")
      if not contains(all.scratch, scratch) then
         refuse(path.value_at, "E-DIR-NAME", "'" .. path.value .. "' names a scratch that is not declared",
            "add '#FOREBAY scratch name=" .. scratch .. "'")
      end
   end
   all.count = #scanned
   all.option_lines = {}
   for i = from_script + 1, #scanned do
      all.option_lines[#all.option_lines + 1] = MAGIC .. " " .. scanned[i].raw .. "\n"
   end
   return all
end
