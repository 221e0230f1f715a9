import { usageError } from '../terminal.ts'

/** The names that a scaffold derives from one: a DNS label, since namespaces, hosts and Services are called so, and what code calls it. */
export interface Names {
  /** e.g. `gift-card` */
  name: string
  /** e.g. `giftCard` */
  value: string
  /** e.g. `GiftCard`, the end of an operation's name */
  noun: string
}

/** Longest name: what the kit appends to it still is a DNS label (RFC 1123 section 2.1). */
const MAX_LENGTH = 30

const RESERVED =
  /^(arguments|await|break|case|catch|class|const|continue|debugger|default|delete|do|else|enum|eval|export|extends|false|finally|for|function|if|implements|import|in|instanceof|interface|let|new|null|package|private|protected|public|return|static|super|switch|this|throw|true|try|typeof|var|void|while|with|yield)$/

const TAKEN = {
  /** Names in the files of a service, and of objects beside it. */
  service:
    /^(z|id|strict|params|implement|define-service|define-contract|start-service|system|test|expect|new-id|run-service|postgres|template1|overview|platform|runbooks|default-deny|.+-pods)$/,
  /** Namespaces and charts of others. */
  system: /^(platform|ingress|observability|default|kube-.+)$/,
}
const TAKEN_BY = { service: 'what is written for it, or beside it, has that name', system: 'a namespace or chart beside it has that name' }

/** @throws CommandError, exit code 2, saying what a name may be */
export function namesOf(what: 'service' | 'system', name: string): Names {
  if (name.length > MAX_LENGTH || !/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name))
    throw usageError(`'${name}' is not a valid ${what} name: up to ${MAX_LENGTH} lower-case letters, digits and single dashes, a letter first`)
  if (RESERVED.test(name)) throw usageError(`'${name}' is not a valid ${what} name: it is a reserved word of JavaScript`)
  if (TAKEN[what].test(name)) throw usageError(`'${name}' is not a valid ${what} name: ${TAKEN_BY[what]}`)
  const noun = name.split('-').map(capital).join('')
  return { name, noun, value: noun.charAt(0).toLowerCase() + noun.slice(1) }
}

const capital = (word: string) => word.charAt(0).toUpperCase() + word.slice(1)
